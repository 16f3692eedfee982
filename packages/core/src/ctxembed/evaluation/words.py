"""Words that the terminal and the report share."""

from ctxembed.evaluation.result import Comparison

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
