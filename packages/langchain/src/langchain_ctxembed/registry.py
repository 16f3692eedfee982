"""What is kept between calls, bounded by bytes: the siblings of every context in this process.

`index()` hands a store arbitrary slices of a document. The splitter has seen the whole, and leaves
it here. What isn't here any more is taken from the call where that has the whole document, and
refused where it hasn't.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

from ctxembed.lazy import ForkLock

V = TypeVar("V")

REGISTRY_BYTES = 256 * 2**20
"""Bytes that the process-wide registry holds by default."""

_ENTRY_BYTES = 320
"""What an entry takes beside its value: its key, two tuples and two places in a mapping."""


class Kept(Generic[V]):
    """A locked mapping of at most `max_bytes`, which forgets what was used longest ago.

    `max_bytes` may be changed at any time; it holds from the next `put` on. What was put
    last stays however large it is where `newest_stays`. A copy is the same mapping; a pickle begins
    empty.
    """

    newest_stays: ClassVar[bool] = False

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._bytes = 0
        self._lock = ForkLock()

    def get(self, key: str) -> V | None:
        """Return what is kept under the key, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: str, value: V, size: int) -> None:
        """Keep a value of so many bytes, in place of what was under the key."""
        size += _ENTRY_BYTES
        with self._lock:
            _, before = self._entries.pop(key, (None, 0))
            self._bytes -= before
            if self.newest_stays or size <= self.max_bytes:
                self._entries[key] = (value, size)
                self._bytes += size
            while self._bytes > self.max_bytes and len(self._entries) > self.newest_stays:
                _, (_, freed) = self._entries.popitem(last=False)
                self._bytes -= freed

    @property
    def bytes(self) -> int:
        """The bytes in use."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> str | tuple[Any, ...]:
        return type(self), (self.max_bytes,)


class ContextRegistry(Kept[tuple[str, ...]]):
    """The ordered texts of contexts, by context id."""

    def __init__(self, max_bytes: int = REGISTRY_BYTES) -> None:
        super().__init__(max_bytes)

    def register(self, context: str, texts: Sequence[str]) -> None:
        """Keep the ordered texts of a context."""
        kept = tuple(texts)
        self.put(context, kept, sys.getsizeof(kept) + sum(map(sys.getsizeof, texts)))

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle the one of the process as the one of the process that reads it."""
        return "REGISTRY" if self is REGISTRY else super().__reduce__()


REGISTRY = ContextRegistry()
"""The one of this process, which splitters and stores share unless they are given another."""
