"""Replay: rows that were computed document by document, handed to a store as it asks for them.

A store calls `embed_documents` with texts and nothing else, in slices of its own. While a replay is
active (a context variable: it follows into tasks and the loop's executor), `ContextualEmbeddings`
answers from it. Every text is compared with the one that is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from ctxembed import Array, ConfigurationError, Settings, to_floats
from ctxembed.lazy import ForkLock

_ACTIVE: ContextVar[Replay | None] = ContextVar("ctxembed_replay", default=None)


class Replay:
    """Texts in the order in which a store gets them, and the row of each.

    With `probes`, one text that isn't among them may pass before the first is taken: some stores
    ask for a vector of their own, to see its length, while they are set up.
    """

    def __init__(
        self,
        texts: Sequence[str],
        rows: Sequence[Array],
        settings: Settings,
        *,
        probes: bool = False,
    ) -> None:
        self._due = list(zip(texts, rows, strict=True))
        self._total = len(self._due)
        self._over = False
        self._settings = settings
        self._probes = probes
        self._taken = 0
        self._lock = ForkLock()

    @staticmethod
    def active() -> Replay | None:
        """Return the replay that is active here, or None."""
        return _ACTIVE.get()

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Let `ContextualEmbeddings.embed_documents` answer from here, within the block.

        Texts and rows are let go of at its end: connections and timers that a store made within keep
        the context, and this object with it, for as long as they live.
        """
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)
            with self._lock:
                self._over = True
                self._due.clear()

    def take(self, texts: Sequence[str], settings: Settings) -> list[list[float]] | None:
        """Return the vectors of the texts if they are due, None for a probe.

        Raises:
            ConfigurationError: other texts are due, or the store embeds with other settings.
        """
        if settings != self._settings:
            message = (
                "the store and its wrapper embed with different settings. Hint: share one object."
            )
            raise ConfigurationError(message)
        with self._lock:
            if self._over:
                message = (
                    "a write to a store is over, and something that it left running embeds texts. "
                    "Hint: this store can't be wrapped, take another."
                )
                raise ConfigurationError(message)
            due = self._due[self._taken : self._taken + len(texts)]
            if [text for text, _ in due] == list(texts):
                self._taken += len(due)
                return to_floats(np.stack([row for _, row in due])) if due else []
            if self._probes and not self._taken and self._is_probe(texts):
                return None
        message = (
            f"after {self._taken} of {self._total} texts the store asked for another than the next: "
            "it drops, changes or reorders texts. Hint: this store can't be wrapped, take another."
        )
        raise ConfigurationError(message)

    @property
    def left(self) -> int:
        """How many rows nobody has asked for."""
        return self._total - self._taken

    def leftover(self, *, undone: bool) -> ConfigurationError:
        """Return the error for a write that ended before all rows were taken."""
        rows = "were deleted again" if undone else "couldn't be deleted: do it by hand"
        return ConfigurationError(
            f"the store asked for {self._taken} of {self._total} vectors: it drops texts, or embeds "
            f"in threads of its own. The rows that it wrote {rows}. "
            "Hint: this store can't be wrapped, take another."
        )

    def _is_probe(self, texts: Sequence[str]) -> bool:
        return len(texts) == 1 and all(texts[0] != text for text, _ in self._due)
