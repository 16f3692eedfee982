"""From tokenised chunks to windows: pure functions over counts of tokens.

`spans` cuts a document at chunk borders, `plan_windows` says which rows each window is there for.
Nothing here knows a model. A window remembers its document and its chunks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ctxembed.documents import TokenizedChunk
from ctxembed.errors import ConfigurationError, DocumentTooLongError
from ctxembed.models import ModelSpec
from ctxembed.settings import LongChunks, Settings

_MOST_CHUNK_TOKENS, _CHUNKS_PER_WINDOW = 256, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Chunks that go through the model together.

    `chunks` are those from number `first` of document `document`; rows are kept for the numbers in
    `keep`, the others are there as context. An `independent` window holds one chunk (or, with
    `share` below 1, a piece of one) and is pooled as the model was trained, special tokens
    included.
    """

    document: int
    first: int
    keep: range
    chunks: tuple[TokenizedChunk, ...]
    tokens: int
    independent: bool = False
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How documents are cut: settings and model facts that `plan_windows` needs, in tokens.

    `most_usual` bounds the usual size of a chunk, whatever the window.
    """

    max_tokens: int
    window_tokens: int
    overlap_tokens: int
    context_weight: float
    neighbour_weight: float
    separator_tokens: int
    long_chunks: LongChunks = "error"
    most_usual: int = _MOST_CHUNK_TOKENS

    @property
    def usual_chunk_tokens(self) -> int:
        """The usual limit of a chunk: so low that several chunks share a window."""
        return min(self.most_usual, max(1, self.window_tokens // _CHUNKS_PER_WINDOW))


@dataclass(frozen=True, slots=True)
class Span:
    """Chunks `start` to `stop` of a document, of which `keep` get their rows here."""

    start: int
    stop: int
    keep: range


def layout_for(settings: Settings, spec: ModelSpec, prefix_tokens: int = 0) -> Layout:
    """Return the layout that settings and model make, or raise `ConfigurationError`."""
    limit = spec.max_tokens - prefix_tokens
    window = settings.window_tokens or spec.window_tokens
    if settings.window_tokens is not None and window > limit:
        besides = f" and the {prefix_tokens} of document_prefix" if prefix_tokens else ""
        most = f"{limit} at the most, special tokens{besides} already taken off"
        raise ConfigurationError(f"window_tokens is {window} and {spec.name} takes {most}.")
    window = min(window, limit)
    if window < 1:
        raise ConfigurationError(
            f"document_prefix has {prefix_tokens} tokens, which leaves no room for chunks in the "
            f"{spec.max_tokens} that {spec.name} reads."
        )
    overlap = settings.overlap_tokens
    overlap = spec.overlap(window) if overlap is None else overlap
    if overlap >= window:
        raise ConfigurationError(
            f"overlap_tokens is {overlap} and has to be less than window_tokens, {window}. "
            "Hint: more than half a window never helped."
        )
    weight = settings.context_weight
    weight = spec.context_weight if weight is None else weight
    neighbours = settings.neighbour_weight
    if neighbours is None:
        neighbours = spec.neighbour_weight if 0 < weight < 1 else 0.0
    return Layout(
        max_tokens=limit,
        window_tokens=window,
        overlap_tokens=overlap,
        context_weight=weight,
        neighbour_weight=neighbours,
        separator_tokens=spec.separator_tokens,
        long_chunks=settings.long_chunks,
        most_usual=spec.usual_chunk_tokens or _MOST_CHUNK_TOKENS,
    )


def usual_chunk_tokens(settings: Settings, spec: ModelSpec) -> int:
    """Return the usual limit of a chunk in tokens, for text that is split for a model.

    It is a quarter of the window, and 256 at the most.
    """
    return layout_for(settings, spec).usual_chunk_tokens


def spans(
    counts: Sequence[int], *, window_tokens: int, overlap_tokens: int, separator_tokens: int = 1
) -> list[Span]:
    """Return the windows of a document in order; `counts` has the tokens of each chunk.

    A window holds chunk tokens plus one separator between neighbours, `window_tokens` at the most.
    A chunk longer than that stands alone. Neighbours share as many whole chunks as fit into
    `overlap_tokens`. A row comes from the window where its chunk lies furthest from a cut, in
    tokens. Ties go to the earlier window. The document's own ends are no cuts.
    """
    # starts[i] is where chunk i begins when the whole document is laid out with its separators
    starts = [0, *accumulate(count + separator_tokens for count in counts)]
    if 0 < len(counts) and starts[-1] - separator_tokens <= window_tokens:
        return [Span(0, len(counts), range(len(counts)))]
    borders = _borders(starts, len(counts), window_tokens, overlap_tokens, separator_tokens)
    best: list[tuple[float, int]] = [(-1, -1)] * len(counts)
    for number, (start, stop) in enumerate(borders):
        for chunk in range(start, stop):
            before = starts[chunk] - starts[start] if start else math.inf
            after = starts[stop] - starts[chunk + 1] if stop < len(counts) else math.inf
            margin = min(before, after)
            if margin > best[chunk][0]:
                best[chunk] = (margin, number)
    # starts and ends of windows only rise, so the chunks that a window is best for are neighbours
    kept: dict[int, list[int]] = {}
    for chunk, (_, number) in enumerate(best):
        kept.setdefault(number, []).append(chunk)
    return [
        Span(*borders[number], range(chunks[0], chunks[-1] + 1)) for number, chunks in kept.items()
    ]


def _borders(
    starts: Sequence[int], total: int, window: int, overlap: int, separator: int
) -> list[tuple[int, int]]:
    def tokens(start: int, stop: int) -> int:
        return starts[stop] - starts[start] - separator

    borders: list[tuple[int, int]] = []
    start = stop = 0
    while stop < total:
        stop += 1
        while stop < total and tokens(start, stop + 1) <= window:
            stop += 1
        borders.append((start, stop))
        start += 1
        # as much of the last window as may be shared, and the next chunk has to fit beside it
        while start < stop < total and (
            tokens(start, stop) > overlap or tokens(start, stop + 1) > window
        ):
            start += 1
    return borders


def plan_windows(number: int, chunks: Sequence[TokenizedChunk], layout: Layout) -> list[Window]:
    """Return the windows of one document.

    Every chunk is kept by exactly one window that gives its contextual row. Where independent rows
    are needed too, to be mixed in or for neighbours, it is also kept by one independent window. A
    window with a single chunk shows no sibling: it is independent, and serves as both. A chunk
    beyond the model's limit raises `DocumentTooLongError`, or becomes pieces whose shares add up
    to 1.
    """
    weight = layout.context_weight
    found = spans(
        [chunk.count for chunk in chunks],
        window_tokens=layout.window_tokens,
        overlap_tokens=layout.overlap_tokens,
        separator_tokens=layout.separator_tokens,
    )
    planned = [
        _contextual(number, span, chunks, layout)
        for span in (found if weight > 0 else [])
        if span.stop - span.start > 1
    ]
    seen = {chunk for window in planned for chunk in window.keep}
    for index, chunk in enumerate(chunks):
        if weight < 1 or layout.neighbour_weight > 0 or index not in seen:
            planned.extend(_independent(number, index, chunk, layout))
    return planned


def _contextual(number: int, span: Span, real: Sequence[TokenizedChunk], layout: Layout) -> Window:
    inside = tuple(real[span.start : span.stop])
    tokens = sum(chunk.count for chunk in inside) + layout.separator_tokens * (len(inside) - 1)
    return Window(document=number, first=span.start, keep=span.keep, chunks=inside, tokens=tokens)


def _independent(number: int, index: int, chunk: TokenizedChunk, layout: Layout) -> list[Window]:
    if chunk.count <= layout.max_tokens:
        pieces = [chunk]
    elif layout.long_chunks == "pool" and chunk.ids is not None:
        pieces = _pieces(chunk.ids, layout.max_tokens)
    else:
        raise DocumentTooLongError(
            f"has {chunk.count} tokens and the model reads {layout.max_tokens}. Hint: split the "
            'chunk, or set long_chunks="pool" to average over its parts.',
            tokens=chunk.count,
            limit=layout.max_tokens,
            document=number,
            chunk=index,
        )
    return [
        Window(
            document=number,
            first=index,
            keep=range(index, index + 1),
            chunks=(piece,),
            tokens=piece.count,
            independent=True,
            share=1.0 if piece is chunk else piece.count / chunk.count,
        )
        for piece in pieces
    ]


def _pieces(ids: Sequence[int], limit: int) -> list[TokenizedChunk]:
    """Cut token ids into pieces of about equal length, none over the limit."""
    count = -(-len(ids) // limit)
    borders = [len(ids) * index // count for index in range(count + 1)]
    return [TokenizedChunk("", stop - start, ids[start:stop]) for start, stop in pairwise(borders)]
