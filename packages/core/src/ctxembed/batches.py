"""Windows in batches: `pack` puts them together within a backend's `Limits`.

No order is ever changed: a window remembers its document, so batches may be run in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import Form
from ctxembed.windows import Window

UNLIMITED = 2**31

LEAST_SHARE = 2048
"""Tokens below which a batch is not made smaller so that more of them run at once."""

MOST_WASTE, LEAST_WASTE = 1 / 4, 64
"""Padding that a batch may have, as a part of its tokens; and how many are never too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one batch may carry, and how many may be under way at once.

    With `padded` every window of a batch costs as much as its longest one, so windows of like
    length are put together.
    """

    documents: int = UNLIMITED
    chunks: int = UNLIMITED
    document_tokens: int = UNLIMITED
    batch_tokens: int = UNLIMITED
    concurrency: int = 1
    padded: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows for one model call or request, the form wanted, and what precedes each window."""

    windows: tuple[Window, ...]
    form: Form
    prefix: TokenizedChunk | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens that the model reads: the windows, and the prefix before each."""
        before = self.prefix.count if self.prefix else 0
        return sum(window.tokens + before for window in self.windows)


def pack(windows: Sequence[Window], limits: Limits, prefix_tokens: int = 0) -> list[list[int]]:
    """Return the numbers of the windows of each batch, within the limits.

    `prefix_tokens` stand before each window. A window that alone exceeds `batch_tokens` is a batch
    alone. Windows stay in order, except with `limits.padded`, where longer ones go first, and a
    batch ends where too much of it would be padding. Where several batches may be under way at
    once, they are made small enough to give each place one of equal size: fewer leave places idle,
    more wait twice.
    """
    most = limits.batch_tokens
    if limits.concurrency > 1 and windows:
        sizes = [window.tokens + prefix_tokens for window in windows]
        most = min(most, max(sum(sizes) // limits.concurrency + max(sizes), LEAST_SHARE))
    order = list(range(len(windows)))
    if limits.padded:
        order.sort(key=lambda number: -windows[number].tokens)
    batches: list[list[int]] = []
    tokens = chunks = waste = 0
    for number in order:
        window = windows[number]
        own = window.tokens + prefix_tokens
        padding = 0
        if limits.padded and batches:
            padding = windows[batches[-1][0]].tokens - window.tokens
        wasted, held = waste + padding, tokens + own + padding
        full = not batches or (
            len(batches[-1]) + 1 > limits.documents
            or held > most
            or chunks + len(window.chunks) > limits.chunks
            or wasted > max(LEAST_WASTE, held * MOST_WASTE)
        )
        if full:
            batches.append([])
            chunks, wasted, held = 0, 0, own
        batches[-1].append(number)
        tokens, waste = held, wasted
        chunks += len(window.chunks)
    return batches
