"""`LazyEmbedder`: an embedder that is opened on first use, for objects that carry one along.

Adapters of frameworks import from here and from `ctxembed` only, so that a renamed module does not
break a released adapter. For them this module also passes on what they need beside the public
names.
"""

import asyncio
from collections.abc import Callable
from logging import Logger

from ctxembed.documents import check_document, has_text
from ctxembed.embedder import Embedder
from ctxembed.errors import located_errors
from ctxembed.forks import fork_lock
from ctxembed.progress import Watch, progress_bar
from ctxembed.settings import Settings
from ctxembed.settings_keywords import SharedKeywords
from ctxembed.windows import usual_chunk_tokens
from ctxembed.wire import KEY_VARIABLES

__all__ = [
    "KEY_VARIABLES",
    "LazyEmbedder",
    "SharedKeywords",
    "Watch",
    "check_document",
    "fork_lock",
    "has_text",
    "located_errors",
    "progress_bar",
    "usual_chunk_tokens",
]

Key = str | Callable[[], str | None] | None
"""A key for the API, or a function that returns it when the embedder is opened."""


class LazyEmbedder:
    """Embedders by settings and key, opened on first use; they are no part of their owner's value.

    One thread opens an embedder while the others wait. Changed settings, or another key, open
    another one. The lock is free in the child of a fork. A deep copy or a pickle begins with
    nothing open, and all objects of this class are equal.
    """

    def __init__(self) -> None:
        self._lock = fork_lock()
        self._found: dict[tuple[Settings, Key], Embedder] = {}
        self._warned: set[str] = set()

    def get(self, settings: Settings, api_key: Key = None) -> Embedder:
        """Return the embedder for the settings, opened if it is not open yet."""
        with self._lock:
            embedder = self._found.get((settings, api_key))
            if embedder is None:
                key = api_key() if callable(api_key) else api_key
                embedder = Embedder.open(settings, api_key=key)
                self._found[settings, api_key] = embedder
            return embedder

    async def aget(self, settings: Settings, api_key: Key = None) -> Embedder:
        """Like `get`, without loading weights on the event loop."""
        embedder = self._found.get((settings, api_key))
        if embedder is None:
            embedder = await asyncio.to_thread(self.get, settings, api_key)
        return embedder

    def fingerprint(self, settings: Settings, api_key: Key = None) -> str:
        """Return the fingerprint of the weights in use, or of those on disk; opens nothing."""
        embedder = self._found.get((settings, api_key))
        return settings.fingerprint() if embedder is None else embedder.fingerprint

    def warn_once(self, logger: Logger, message: str, *values: object) -> None:
        """Log a warning, the first time only for each message."""
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message, *values)

    def close(self) -> None:
        """Let go of weights and connections; the next use opens them again."""
        with self._lock:
            found, self._found = self._found, {}
        for embedder in found.values():
            embedder.close()

    async def aclose(self) -> None:
        """Like `close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __reduce__(self) -> tuple[type["LazyEmbedder"], tuple[()]]:
        return LazyEmbedder, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LazyEmbedder)

    def __hash__(self) -> int:
        return hash(LazyEmbedder)
