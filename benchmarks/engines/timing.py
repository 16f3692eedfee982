"""How an engine is timed: threads and cores fixed, the best of a few runs, CPU and wall time."""

import os
import time
from collections.abc import Callable

from ctxembed.cli.bench.timer import fastest

ENOUGH = 20.0
"""Seconds: runs are repeated until so much time was measured."""

MOST = 3


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_to(threads: int) -> None:
    """Let this process use so many threads; with one, on one core. Before any library is loaded."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def timed(run: Callable[[], object], *, threads: int, most: int = MOST) -> dict[str, float]:
    """Return the best of some runs in seconds: by CPU time with one thread, else by wall time.

    As many runs as fit into `ENOUGH` seconds: at least one, at most `most`.
    """

    def once() -> dict[str, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}

    by = "cpu" if threads == 1 else "wall"
    best, runs = fastest(once, lambda spent: spent[by], within=ENOUGH, most=most)
    return best | {"runs": runs, "seconds": best[by]}
