"""How many threads a model's arithmetic gets: no more than this process has cores' time for.

A control group's quota is what a container is limited by, and no library looks at it: on two cores'
worth of time sixty-four threads wait for each other. Linux tells quota and affinity; elsewhere all
cores count.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

VARIABLE = "OMP_NUM_THREADS"

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_UNIFIED = ("", "unified")
_CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Threads:
    """A number of threads, and in words what it follows from."""

    number: int
    reason: str


def allowed(
    environment: Mapping[str, str] = os.environ,
    *,
    usable: int | None = None,
    groups: Path = _GROUPS,
    own: Path = _OWN,
) -> Threads:
    """Return the threads to use: what `OMP_NUM_THREADS` says, else the fewer of cores and quota.

    A quota is rounded up. `usable` is the number of cores that the process may run on,
    without it the system's word. `groups` is where control groups are mounted, `own` the file that
    tells which ones are this process's.
    """
    if told := _told(environment):
        return Threads(told, VARIABLE)
    usable = usable or cores()
    quota = core_quota(groups, own)
    if quota is not None and math.ceil(quota) < usable:
        return Threads(max(1, math.ceil(quota)), f"a quota of {quota:g} cores' time")
    present = os.cpu_count() or usable
    if usable < present:
        return Threads(usable, f"affinity to {usable} of {present} cores")
    return Threads(usable, "all cores")


def unread(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return what `OMP_NUM_THREADS` holds where that is no number of threads, and so is ignored."""
    value = environment.get(VARIABLE, "").strip()
    return value if value and not _told(environment) else None


def _told(environment: Mapping[str, str]) -> int | None:
    """Return the number of threads that the variable asks for, None where it holds none."""
    told = environment.get(VARIABLE, "").partition(",")[0].strip()
    return int(told) or None if told.isdecimal() else None


def limit_torch_threads() -> int:
    """Limit torch to the threads allowed, in the thread that calls, and return how many it uses.

    Only ever lowers: a smaller number that torch chose, or that was set before, stays.
    """
    import torch

    number = min(torch.get_num_threads(), allowed().number)
    if number < torch.get_num_threads():
        torch.set_num_threads(number)
    return number


def cores() -> int:
    """Return the cores that this process may run on, whatever its share of their time."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def core_quota(groups: Path = _GROUPS, own: Path = _OWN) -> float | None:
    """Return how many cores' time the control groups allow, None where they set no limit.

    The least of the process's own group and all above it counts: a limit on any of them holds.
    """
    quotas = []
    for line in _read(own).splitlines() or ["0::/", f"1:{_CPU}:/"]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            places = [groups / name / each for name in _UNIFIED for each in _upwards(path)]
            quotas += [_quota(_read(place / "cpu.max")) for place in places]
        elif _CPU in controllers.split(","):
            places = [
                groups / name / each for name in {_CPU, controllers} for each in _upwards(path)
            ]
            quotas += [
                _quota(f"{_read(place / 'cpu.cfs_quota_us')} {_read(place / 'cpu.cfs_period_us')}")
                for place in places
            ]
    return min((quota for quota in quotas if quota is not None), default=None)


def _upwards(path: str) -> list[str]:
    """Return a group and those above it, relative to where they are mounted.

    In a container the path may be that of the host, of which only the root is mounted.
    """
    group = PurePosixPath(path.strip().lstrip("/"))
    return [str(each) for each in (group, *group.parents) if ".." not in each.parts]


def _quota(text: str) -> float | None:
    """Return a limit written as time and period in microseconds; "max" and -1 are none."""
    numbers = text.split()
    if len(numbers) != 2 or not all(each.isdecimal() and int(each) for each in numbers):  # noqa: PLR2004 - a pair
        return None
    quota, period = map(int, numbers)
    return quota / period


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
