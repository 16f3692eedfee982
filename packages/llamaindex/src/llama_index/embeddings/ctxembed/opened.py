"""`Opened`: the core's embedders that a component has opened, which are no part of its value."""

from __future__ import annotations

from typing import Any

from ctxembed import Embedder, Settings
from ctxembed.forks import ForkLock


class Opened:
    """Embedders by what they were opened with, so that a changed setting opens another.

    A shallow copy of the component shares them; a pickle or deep copy begins with none.
    """

    def __init__(self) -> None:
        self.warned = False
        self._lock = ForkLock()
        self._found: dict[tuple[Settings, str | None], Embedder] = {}

    def get(self, settings: Settings, api_key: str | None) -> Embedder:
        """Return the embedder for the settings; one thread opens it, the others wait."""
        with self._lock:
            embedder = self._found.get((settings, api_key))
            if embedder is None:
                secret: dict[str, Any] = {} if api_key is None else {"api_key": api_key}
                embedder = self._found[settings, api_key] = Embedder.open(settings, **secret)
            return embedder

    def find(self, settings: Settings, api_key: str | None) -> Embedder | None:
        """Return the embedder for the settings where it is open already."""
        return self._found.get((settings, api_key))

    def close(self) -> None:
        """Close what is open; the next use opens anew."""
        with self._lock:
            while self._found:
                self._found.popitem()[1].close()

    def __reduce__(self) -> tuple[type[Opened], tuple[()]]:
        return Opened, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opened)

    def __hash__(self) -> int:
        return hash(Opened)
