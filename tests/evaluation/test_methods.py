"""The rival that costs nothing, and the ranking."""

import numpy as np
from numpy.testing import assert_allclose

from ctxembed.evaluation.methods import with_neighbours
from ctxembed.search import nearest


def test_half_of_the_mean_direction_of_the_neighbours_is_added():
    """Rows at the ends have one neighbour, rows between two; all come out as unit vectors."""
    rows = np.eye(3, dtype=np.float32)

    expected = np.array([[1, 0.5, 0], [0.5**1.5, 1, 0.5**1.5], [0, 0.5, 1]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert_allclose(with_neighbours(rows), expected, rtol=1e-6)


def test_a_chunk_alone_stays_as_it_is():
    """Without neighbours there is nothing to add."""
    row = np.array([[0.6, 0.8]], np.float32)

    assert np.array_equal(row, with_neighbours(row))


def test_chunks_are_ranked_through_all_documents_and_ties_keep_their_order():
    """Numbers run on from document to document; blocks of queries change nothing."""
    east, north = [1, 0], [0, 1]
    vectors = [np.array([north, east], np.float32), np.array([east, north], np.float32)]
    queries = np.array([east, north, east], np.float32)
    expected = [[1, 2, 0], [0, 3, 1], [1, 2, 0]]

    assert expected == nearest(queries, vectors, 3).indexes.tolist()
    assert expected == nearest(queries, vectors, 3, block_bytes=1).indexes.tolist()
