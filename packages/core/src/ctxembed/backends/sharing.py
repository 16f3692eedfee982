"""One loaded model for all that ask for the same weights, entered by one thread at a time.

`ModelQueue` is the way in, from threads and from event loops alike; `share` finds what is loaded
already. What the model is, and what becomes of errors, is the backends' business.
"""

import asyncio
import os
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet, WeakValueDictionary

from ctxembed.errors import BackendError
from ctxembed.forks import fork_lock

P = ParamSpec("P")
T = TypeVar("T")


class ModelQueue:
    """Runs functions in a thread of its own (or `workers` of them), in the order of asking.

    Works on in the child of a fork, which inherits objects but no threads. The threads end when
    the queue is closed or nothing refers to it any more.
    """

    def __init__(self, name: str = "model", workers: int = 1) -> None:
        self._name = name
        self._workers = workers
        self._renew()
        _QUEUES.add(self)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the function's result, waiting for its turn and its end."""
        return self._submit(function, *args, **kwargs).result()

    async def arun(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `run`, without blocking the event loop; cancelled in the queue, it never starts."""
        return await asyncio.wrap_future(self._submit(function, *args, **kwargs))

    def close(self) -> None:
        """Take no more; what is under way ends. A second call does nothing."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return self._executor.submit(function, *args, **kwargs)
        except RuntimeError as error:  # what an executor says once it is shut down
            raise BackendError("the embedder is closed. Hint: open another.") from error

    def _renew(self) -> None:
        self._executor = ThreadPoolExecutor(self._workers, f"ctxembed-{self._name}")


_QUEUES: WeakSet[ModelQueue] = WeakSet()
_LOADED: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
_LOCK = fork_lock()


def share(key: Hashable, load: Callable[[], T]) -> T:
    """Return what was loaded under `key` while anyone still holds it, else load it.

    Whoever holds the result keeps it alive; letting go of it is all there is to closing. One load
    at a time: the second caller waits for the first, and takes what that loaded.
    """
    with _LOCK:
        found: T | None = _LOADED.get(key)
        if found is None:
            found = load()
            _LOADED[key] = found
        return found


def _after_fork_in_child() -> None:
    for queue in list(_QUEUES):
        queue._renew()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
