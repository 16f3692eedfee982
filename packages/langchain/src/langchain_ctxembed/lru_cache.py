"""`LruCache`: a locked mapping that is bounded by the bytes of its values.

The caller says how large a value is. What the values mean is not known here.
"""

from collections import OrderedDict
from functools import partial
from typing import Any, Generic, Self, TypeVar

from ctxembed.lazy import fork_lock

V = TypeVar("V")

_ENTRY_BYTES = 320
"""What an entry takes beside its value: its key, two tuples and two places in a mapping."""


class LruCache(Generic[V]):
    """A mapping of at most `max_bytes`, which forgets the value that was used longest ago.

    `max_bytes` may be changed at any time, and holds from the next `put` on. With `keep_newest`
    the value that was put last stays, however large it is. A copy is the same mapping; a pickle
    holds no values.
    """

    def __init__(self, max_bytes: int, *, keep_newest: bool = False) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        """The bytes in use."""
        self._keep_newest = keep_newest
        self._entries: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._lock = fork_lock()

    def get(self, key: str) -> V | None:
        """Return the value of a key, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: str, value: V, size: int) -> None:
        """Keep a value of `size` bytes in place of the former value of the key."""
        size += _ENTRY_BYTES
        with self._lock:
            _, before = self._entries.pop(key, (None, 0))
            self.bytes -= before
            if self._keep_newest or size <= self.max_bytes:
                self._entries[key] = (value, size)
                self.bytes += size
            while self.bytes > self.max_bytes and len(self._entries) > self._keep_newest:
                _, (_, freed) = self._entries.popitem(last=False)
                self.bytes -= freed

    def __len__(self) -> int:
        return len(self._entries)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        return partial(type(self), self.max_bytes, keep_newest=self._keep_newest), ()
