"""Which chunks answer a query: the rule between character spans and chunks."""

from collections.abc import Iterable, Sequence

from ctxembed.evaluation.collection import Span


def is_relevant(piece: Span, span: Span) -> bool:
    """Tell whether a chunk and an answering span share at least half of the shorter of the two."""
    overlap = min(piece[1], span[1]) - max(piece[0], span[0])
    shorter = min(piece[1] - piece[0], span[1] - span[0])
    return overlap > 0 and 2 * overlap >= shorter


def relevant_pieces(pieces: Sequence[Span], spans: Iterable[Span]) -> list[int]:
    """Return the numbers of the pieces of a document that any of the spans makes relevant."""
    wanted = list(spans)
    return [
        number
        for number, piece in enumerate(pieces)
        if any(is_relevant(piece, span) for span in wanted)
    ]
