"""Which chunks answer a query."""

import pytest

from ctxembed.evaluation.relevance import is_relevant, relevant_pieces


@pytest.mark.parametrize(
    ("piece", "span", "relevant"),
    [
        ((0, 10), (0, 100), True),  # a chunk within a passage
        ((0, 100), (40, 44), True),  # an answer within a chunk
        ((0, 10), (5, 30), True),  # half of the chunk
        ((0, 10), (6, 30), False),  # less than half of it
        ((0, 30), (28, 32), True),  # half of the answer
        ((0, 30), (29, 32), False),
        ((0, 10), (10, 20), False),  # side by side
        ((0, 1), (1, 2), False),
    ],
)
def test_half_of_the_shorter_is_enough(piece, span, relevant):
    """Half of the chunk or half of the passage, whichever is shorter."""
    assert relevant == is_relevant(piece, span)


def test_any_span_makes_a_chunk_relevant_and_none_counts_twice():
    """Chunks come once and in order, whatever the order of the spans."""
    pieces = [(0, 10), (11, 20), (21, 30), (31, 40)]

    assert [0, 1, 3] == relevant_pieces(pieces, [(31, 40), (0, 20), (2, 12)])
