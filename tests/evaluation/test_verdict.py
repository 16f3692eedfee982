"""The sentences follow from the figures."""

import math

import pytest

from ctxembed.evaluation.intervals import Estimate
from ctxembed.evaluation.verdict import verdict, verdict_alone

UP, DOWN, FLAT = (
    Estimate(0.03, 0.02, 0.04),
    Estimate(-0.02, -0.03, -0.01),
    Estimate(-0.005, -0.02, 0.01),
)


def figures(ndcg: Estimate, mrr: Estimate) -> dict[str, Estimate]:
    """Return figures as the verdict takes them."""
    return {"nDCG@10": ndcg, "MRR@10": mrr}


@pytest.mark.parametrize(
    ("gain", "beyond", "expected"),
    [
        ((UP, FLAT), (UP, FLAT), "ranks the right chunks better (nDCG@10 +0.030) but does not"),
        ((UP, FLAT), (UP, FLAT), "is ahead of it in nDCG@10 (+0.030) but does not clearly differ"),
        ((UP, FLAT), (UP, FLAT), "try the free way before you pay"),
        ((UP, UP), (DOWN, FLAT), "context is worth its second pass"),
        ((UP, UP), (UP, DOWN), "but is behind it in MRR@10 (-0.020)"),
        ((UP, UP), (UP, DOWN), "take context for the first hit, the free way for the ten best"),
        ((UP, UP), (DOWN, UP), "take the free way for the first hit, context for the ten best"),
        ((UP, DOWN), (FLAT, FLAT), "leave it off where only the first hit counts"),
        ((UP, FLAT), (FLAT, FLAT), "differ from it in nDCG@10 (-0.005) or in MRR@10 (-0.005)"),
        ((UP, FLAT), (UP, UP), "is ahead of it in nDCG@10 (+0.030) and in MRR@10 (+0.030)"),
        ((DOWN, DOWN), (UP, UP), "ranks the right chunks worse (nDCG@10 -0.020) and pushes"),
        ((DOWN, DOWN), (UP, UP), "take the free way, and leave context off"),
        ((FLAT, FLAT), (FLAT, FLAT), "context makes no clear difference"),
    ],
)
def test_gain_loss_and_no_clear_difference_are_told_apart(gain, beyond, expected):
    """Each figure is judged by its interval, the free rival too."""
    sentence = verdict(
        figures(*gain), figures(UP, FLAT), figures(*beyond), documents=23, own=False
    )

    assert expected in sentence
    assert sentence.startswith("On these 23 documents ")
    assert sentence.endswith(".")
    assert max(len(each.split()) for each in sentence.split(". ")) <= 30


def test_where_nothing_helps_independent_is_the_advice():
    """Neither way is recommended when neither is clearly better."""
    sentence = verdict(
        figures(FLAT, FLAT), figures(FLAT, DOWN), figures(FLAT, FLAT), documents=9, own=False
    )

    assert sentence.endswith("For documents like these stay with independent vectors.")


def test_the_own_data_set_says_that_it_is_not_the_readers():
    """Fairy tales prove nothing about invoices."""
    same = figures(UP, UP)

    assert "measure yours with --data" in verdict(same, same, same, documents=23, own=True)


def test_one_document_allows_no_claim():
    """Without intervals nothing is sure, and that is said."""
    lone = Estimate(0.1, math.nan, math.nan)
    same = figures(lone, lone)

    assert "nothing is sure" in verdict(same, same, same, documents=1, own=False)


def test_few_documents_allow_no_advice():
    """Two documents drawn anew say nothing of others, however narrow the intervals."""
    sure = Estimate(0.1, 0.1, 0.1)
    same = figures(sure, sure)
    sentence = verdict(same, same, same, documents=2, own=False)

    assert "too few to tell" in sentence
    assert "take" not in sentence


def test_a_model_without_context_says_so():
    """A context_weight of 0 leaves only the neighbours to compare."""
    sentence = verdict_alone(figures(UP, FLAT), documents=5)

    assert "embeds each chunk alone" in sentence
    assert "nDCG@10 by +0.030" in sentence
