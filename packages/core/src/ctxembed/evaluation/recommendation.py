"""Which of several settings to take, by quality and cost, in sentences made from the figures."""

from collections.abc import Sequence

from ctxembed.evaluation.intervals import Direction
from ctxembed.evaluation.result import RunResult
from ctxembed.evaluation.verdict import FEW_DOCUMENTS

_MANY = 6
"""Of so many settings the best one owes a part of its lead to chance."""

Point = tuple[float, float, float]
"""nDCG@10, tokens read and bytes stored of a run."""


def unbeaten(points: Sequence[Point]) -> list[bool]:
    """Tell of each run whether no other is as good and as cheap, and better or cheaper.

    >>> unbeaten([(0.3, 100, 10), (0.4, 200, 10), (0.3, 200, 10)])
    [True, True, False]
    """

    def beats(one: Point, two: Point) -> bool:
        return one != two and one[0] >= two[0] and one[1] <= two[1] and one[2] <= two[2]

    return [not any(beats(other, point) for other in points) for point in points]


def recommend(runs: Sequence[RunResult], to_best: Sequence[Direction], *, documents: int) -> str:
    """Return which run to take, what it gains over the first one and costs; then what to know.

    It is the cheapest one whose nDCG@10 is not clearly below that of the best one: `to_best` are
    the directions of the differences to that. Tokens count first, then stored bytes.
    """
    if documents < FEW_DOCUMENTS:
        return f"With so few documents ({documents}) none of {len(runs)} settings can be chosen."
    first, best = runs[0], max(runs, key=_quality)
    good = [each for each, found in zip(runs, to_best, strict=True) if found != "down"]
    taken = min(good, key=lambda each: (each.tokens, each.stored_bytes, -_quality(each)))
    if taken is first:
        return f"Stay with {first.label}: no other setting is clearly better."
    gain = {metric: found.value for metric, found in taken.gain.items()}
    tokens, stored = taken.tokens / first.tokens, taken.stored_bytes / first.stored_bytes
    said = [
        f"Take {taken.label}: nDCG@10 {gain['nDCG@10']:+.3f} over {first.label}.",
        f"It reads {tokens:.1f} times the tokens and stores {stored:.2g} times the bytes.",
        f"MRR@10 changes by {gain['MRR@10']:+.3f}.",
    ]
    care = []
    if best is not taken:
        care.append(
            f"{best.label} is ahead by {_quality(best) - _quality(taken):.3f}: not clearly."
        )
    if len(runs) >= _MANY:
        care.append(f"The best of {len(runs)} settings owes a part of its lead to chance.")
    if len({each.chunks for each in runs}) > 1:
        care.append("Larger chunks were given no more text than ten chunks of the first row.")
    return "\n".join([" ".join(said), *([" ".join(care)] if care else [])])


def _quality(run: RunResult) -> float:
    return run.figures["nDCG@10"].value
