"""nDCG, recall and MRR, worked out by hand."""

from math import log2

import numpy as np
import pytest

pytest.importorskip("ir_measures")

from ctxembed.evaluation.metrics import METRICS, score


def test_figures_are_those_worked_out_by_hand():
    """Three queries: second and sixth of ten, first and only, none."""
    hits = np.array([[9, 1, 8, 7, 6, 2, 5, 4, 3, 0], list(range(10)), list(range(10))])
    scores = score(hits, [[1, 2, 77], [0], [50]])
    ideal = 1 + 1 / log2(3) + 1 / log2(4)

    assert tuple(scores) == METRICS
    assert scores["nDCG@10"] == pytest.approx([(1 / log2(3) + 1 / log2(7)) / ideal, 1, 0])
    assert scores["recall@5"] == pytest.approx([1 / 3, 1, 0])
    assert scores["MRR@10"] == pytest.approx([1 / 2, 1, 0])


def test_fewer_chunks_than_ten_are_no_matter():
    """A collection of three chunks is ranked whole."""
    scores = score(np.array([[2, 0, 1]]), [[1]])

    assert [0.5, 1.0, 1 / 3] == pytest.approx([scores[metric][0] for metric in METRICS])
