"""The time that the threads of this process waited for a core, as Linux counts it."""

from collections.abc import Mapping
from pathlib import Path

_TASKS = Path("/proc/self/task")

Waits = Mapping[str, int]
"""Nanoseconds that each thread has waited since it began, by its number."""


def waits(tasks: Path = _TASKS) -> Waits | None:
    """Return how long each thread has waited for a core, None where it is not known."""
    found: dict[str, int] = {}
    ran = 0
    for file in tasks.glob("*/schedstat"):
        try:
            running, waiting, _ = map(int, file.read_text().split())
        except (OSError, ValueError):  # the thread has ended
            continue
        ran += running
        found[file.parent.name] = waiting
    return found if ran else None  # a kernel that does not count has zeros for all


def waited(before: Waits | None, after: Waits | None) -> float | None:
    """Return the seconds waited between two readings, of threads that are in both."""
    if before is None or after is None:
        return None
    return sum(after[each] - before[each] for each in before.keys() & after.keys()) / 1e9
