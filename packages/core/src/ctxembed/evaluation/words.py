"""Words that the terminal and the report share."""

import math

from ctxembed.evaluation.intervals import Estimate
from ctxembed.evaluation.result import Comparison, RunResult

INTERVALS = (
    "Differences are to the first row. Below each figure is its 95 % interval, from whole "
    "documents drawn anew. A * marks a difference whose interval lies on one side of 0."
)
UNBEATEN = (
    "A + marks settings that no other beats: none is as good in nDCG@10 for as few tokens and "
    "stored bytes. Tokens are what the model reads for all chunks, second passes included. "
    "Bytes are those of one chunk."
)


def summary(result: Comparison) -> str:
    """Return what was compared, in numbers.

    Queries that no chunk answers are counted, and simulated ones are said to be simulated.
    """
    parts = [
        _counted(result.documents, "document", "documents"),
        _counted(result.chunks, "chunk", "chunks"),
        _counted(result.queries, "query", "queries"),
    ]
    if result.unanswered:
        parts.append(f"{result.unanswered:,} more without an answer, left out")
    return f"{result.collection}: {', '.join(parts)}"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """Return the ends of an interval, or say that there is none."""
    if math.isnan(estimate.low):
        return "no interval"
    sign = "+" if signed else ""
    return f"{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"


def difference(estimate: Estimate) -> str:
    """Return a difference, marked where its whole interval lies on one side of 0."""
    return f"{estimate.value:+.3f}{'' if estimate.direction == 'unclear' else '*'}"


def seconds(run: RunResult) -> str:
    """Return the seconds, or that a cache had vectors, so that nobody knows."""
    return "cached" if run.seconds is None else f"{run.seconds:.1f}"
