"""`Usage`: what an embedder has used so far."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """What an embedder has used so far.

    `tokens` counts what the model read: separators, overlaps and second passes included. `cost` is
    in USD, None where nothing is charged. `cached_documents` counts those that the model did not
    read, because the cache had them or an equal document was read beside them.
    """

    tokens: int = 0
    requests: int = 0
    cost: float | None = None
    cached_documents: int = 0
