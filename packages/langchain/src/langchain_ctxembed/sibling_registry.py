"""`ContextRegistry`: the texts of the siblings of every context that was split in this process.

`index()` hands a store any slices of a document. The splitter has seen the whole document, and
leaves its chunks here. Which chunks need no entry is decided in `siblings`.
"""

import sys
from collections.abc import Sequence
from typing import Any

from langchain_ctxembed.lru_cache import LruCache

REGISTRY_BYTES = 256 * 2**20
"""Bytes that the process-wide registry holds by default."""


class ContextRegistry(LruCache[tuple[str, ...]]):
    """The ordered texts of siblings, by context id."""

    def __init__(self, max_bytes: int = REGISTRY_BYTES) -> None:
        super().__init__(max_bytes)

    def register(self, context: str, texts: Sequence[str]) -> None:
        """Keep the ordered texts of a context."""
        siblings = tuple(texts)
        self.put(context, siblings, sys.getsizeof(siblings) + sum(map(sys.getsizeof, siblings)))

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle the registry of the process as the registry of the process that reads it."""
        return "REGISTRY" if self is REGISTRY else (type(self), (self.max_bytes,))


REGISTRY = ContextRegistry()
"""The registry of this process: splitters and stores share it unless they are given another."""
