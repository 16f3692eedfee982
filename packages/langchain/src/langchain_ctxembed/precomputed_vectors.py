"""`PrecomputedVectors`: the rows of a write, handed to the store as it asks for them.

A store calls `embed_documents` with texts and nothing else, in slices of its own. While
precomputed vectors are active (a context variable, which follows into tasks and the loop's
executor), `ContextualEmbeddings` answers with them. Every text is compared with the next one: a
store that asks in another order gets its error here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

import numpy as np

from ctxembed import Array, ConfigurationError, Settings, to_floats


class PrecomputedVectors:
    """Texts in the order in which a store gets them, one row per text, and how many are `left`."""

    def __init__(self, texts: Sequence[str], rows: Sequence[Array], settings: Settings) -> None:
        self.left = self._total = len(texts)
        """How many rows the store has not asked for."""
        self._next = list(zip(texts, rows, strict=True))
        self._settings = settings.without_cache()
        self._probes = False
        self._over = False
        self._lock = Lock()

    @contextmanager
    def active(self, *, probes: bool = False) -> Iterator[None]:
        """Let `ContextualEmbeddings.embed_documents` answer from here within the block.

        With `probes`, one text that is not among these may pass before the first is taken: some
        stores ask for a vector while they are set up, to see its length. Texts and rows are let go
        of at the end. Connections and timers that a store made within the block keep its context,
        and this object with it, for as long as they live.
        """
        self._probes = probes
        token = ACTIVE.set(self)
        try:
            yield
        finally:
            ACTIVE.reset(token)
            with self._lock:
                self._over = True
                self._next.clear()

    def take(self, texts: Sequence[str], settings: Settings) -> list[list[float]] | None:
        """Return the vectors of the texts if they come next, None for a probe.

        Raises:
            ConfigurationError: other texts come next, or the store embeds with other settings.
        """
        if settings.without_cache() != self._settings:
            raise ConfigurationError(
                "the store and its wrapper embed with different settings. Hint: share one object."
            )
        with self._lock:
            if self._over:
                raise ConfigurationError(
                    "a write to a store is over, and something that it left running embeds texts. "
                    "Hint: this store cannot be wrapped, take another."
                )
            taken = self._total - self.left
            due = self._next[taken : taken + len(texts)]
            if [text for text, _ in due] == list(texts):
                self.left -= len(due)
                return to_floats(np.stack([row for _, row in due])) if due else []
            if self._probes and not taken and self._is_probe(texts):
                return None
        raise ConfigurationError(
            f"after {taken} of {self._total} texts the store asked for one that is not the next: "
            "it drops, changes or reorders texts. Hint: this store cannot be wrapped, take another."
        )

    def leftover(self, *, deleted: bool) -> ConfigurationError:
        """Return the error for a write that ended before all rows were taken."""
        rows = "were deleted again" if deleted else "could not be deleted: delete them by hand"
        return ConfigurationError(
            f"the store asked for {self._total - self.left} of {self._total} vectors: it drops "
            f"texts, or embeds in threads of its own. The rows that it wrote {rows}. "
            "Hint: this store cannot be wrapped, take another."
        )

    def _is_probe(self, texts: Sequence[str]) -> bool:
        return len(texts) == 1 and all(texts[0] != text for text, _ in self._next)


ACTIVE: ContextVar[PrecomputedVectors | None] = ContextVar("ctxembed_vectors", default=None)
"""The vectors that are active in the running task or thread."""
