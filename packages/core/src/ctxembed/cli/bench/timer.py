"""A timer: the fastest of some runs, as many as fit into the time."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def fastest(
    run: Callable[[], T], seconds: Callable[[T], float], *, within: float, most: int
) -> tuple[T, int]:
    """Return what the fastest of some runs gave, and how many runs there were.

    Args:
        run: What is timed, and gives the time that it took among its results.
        seconds: Tells the time that a run took.
        within: No run is begun that would not fit into so many seconds, except the first.
        most: The largest number of runs.
    """
    best = run()
    total, runs = seconds(best), 1
    while runs < most and total + seconds(best) <= within:
        found = run()
        best = min(best, found, key=seconds)
        total, runs = total + seconds(found), runs + 1
    return best, runs
