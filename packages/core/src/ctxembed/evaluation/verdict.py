"""What the figures mean, in sentences that are made from the figures."""

import math

from ctxembed.evaluation.intervals import Direction
from ctxembed.evaluation.result import Figures

FEW_DOCUMENTS = 5
"""Below so many, drawing documents anew says nothing of documents that are not there."""

Story = dict[Direction, str]

_RANKING: Story = {
    "up": "context ranks the right chunks better",
    "down": "context ranks the right chunks worse",
    "unclear": "context makes no clear difference to how the right chunks rank",
}
_FIRST: Story = {
    "up": "lifts the first right one",
    "down": "pushes the first right one down",
    "unclear": "does not clearly move the first right one",
}
_FREE = "the free way (context_weight=0, neighbour_weight=0.5), which costs no second pass,"
_LIKE = "For documents like these"


def verdict(
    gain: Figures, free_gain: Figures, beyond: Figures, *, documents: int, own: bool
) -> str:
    """Return the sentences for a model that embeds with context.

    `gain` is what context brings over independent vectors, `free_gain` what the neighbours' method
    brings, `beyond` the neighbours' method less context. `own`: the data came with the package.
    """
    ndcg, mrr = gain["nDCG@10"], gain["MRR@10"]
    if math.isnan(ndcg.low):
        where = f"With {documents} document there are no intervals, so nothing is sure"
        return f"{where}: nDCG@10 {ndcg.value:+.3f} and MRR@10 {mrr.value:+.3f} with context."
    if documents < FEW_DOCUMENTS:
        where = f"{documents} documents are too few to tell, also where the intervals are narrow"
        return f"{where}: nDCG@10 {ndcg.value:+.3f} and MRR@10 {mrr.value:+.3f} with context."
    link = "and" if mrr.direction == ndcg.direction else "but"
    effect = (
        f"{_RANKING[ndcg.direction]} (nDCG@10 {ndcg.value:+.3f}) {link} "
        f"{_FIRST[mrr.direction]} (MRR@10 {mrr.value:+.3f})"
    )
    advice = _advice(gain, free_gain, beyond)
    check = " These are not your documents, so measure yours with --data." if own else ""
    rival = f"T{_rival(beyond)[1:]}"
    return f"On these {documents} documents {effect}. {rival}. {_LIKE} {advice}.{check}"


def verdict_alone(free_gain: Figures, *, documents: int) -> str:
    """Return the sentence for a model that embeds each chunk alone."""
    ndcg, mrr = free_gain["nDCG@10"], free_gain["MRR@10"]
    return (
        "This model embeds each chunk alone (its context_weight is 0), so there is nothing "
        f"contextual to compare. On these {documents} documents {_FREE} changes nDCG@10 by "
        f"{ndcg.value:+.3f} and MRR@10 by {mrr.value:+.3f}."
    )


def _rival(beyond: Figures) -> str:
    """Say how the neighbours' method stands against context."""
    ndcg, mrr = beyond["nDCG@10"], beyond["MRR@10"]
    stands: Story = {
        "up": "is ahead of it",
        "down": "is behind it",
        "unclear": "does not clearly differ from it",
    }
    if mrr.direction != ndcg.direction:
        link = f"but {stands[mrr.direction]}"
    else:
        link = "or" if ndcg.direction == "unclear" else "and"
    return (
        f"{_FREE} {stands[ndcg.direction]} in nDCG@10 ({ndcg.value:+.3f}) {link} "
        f"in MRR@10 ({mrr.value:+.3f})"
    )


def _advice(gain: Figures, free_gain: Figures, beyond: Figures) -> str:
    """Say what to do with documents like these."""
    context, free, rival = map(_directions, (gain, free_gain, beyond))
    if "up" not in context:
        if "up" in free and "down" not in free:
            return "take the free way, and leave context off"
        return "stay with independent vectors"
    if "down" in context:
        return (
            "take context where the ten best are read together, and "
            "leave it off where only the first hit counts"
        )
    if "down" not in rival:
        return "try the free way before you pay for a second pass"
    if "up" not in rival:
        return "context is worth its second pass"
    first, ten = ("context", "the free way")
    if rival[1] != "down":
        first, ten = ten, first
    return f"take {first} for the first hit, {ten} for the ten best"


def _directions(figures: Figures) -> tuple[Direction, Direction]:
    return figures["nDCG@10"].direction, figures["MRR@10"].direction
