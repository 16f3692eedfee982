"""The cache of loaded weights: embedders of one process that ask for the same weights share them.

It holds weak references only, so that weights leave memory with their last embedder. Who may enter
a shared model, and when, is left to `model_queue`.
"""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from ctxembed.forks import fork_lock

T = TypeVar("T")

_LOADED: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_LOCK = fork_lock()


def get_or_load(key: Hashable, load: Callable[[], T]) -> T:
    """Return what was loaded under `key` if it is still in memory, else load it.

    The holders of the result keep it alive. Loads do not overlap: a second caller waits for the
    first, and gets what the first one loaded.
    """
    with _LOCK:
        found: T | None = _LOADED.get(key)
        if found is None:
            found = load()
            _LOADED[key] = found
        return found
