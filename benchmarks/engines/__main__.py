"""Runs one engine over one workload: `python -m engines ROUTE WORKLOAD THREADS FOLDER`.

Prints one line of JSON, the seconds or why it failed, and leaves its codes in FOLDER.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from machine import peak_memory, versions
from workloads import read, token_counts

from engines.names import open_engine
from engines.timing import keep_to, timed


def measure(name: str, workload: str, threads: int, folder: Path) -> dict[str, object]:
    """Return what an engine took; its codes are written."""
    started = time.perf_counter()
    checkpoint, documents = read(folder, workload)
    longest = max(token_counts(checkpoint, documents))
    embed = open_engine(name, checkpoint, threads=threads, longest=longest)
    embed([documents[0][:3]])  # a small document, to warm up
    ready = time.perf_counter() - started
    runs: list[list[np.ndarray]] = []
    spent = timed(lambda: runs.append(embed(documents)), threads=threads)
    np.save(folder / f"{workload}-{name}-{threads}.npy", np.concatenate(runs[-1]))
    return spent | {"memory": peak_memory(), "ready": ready, "versions": versions()}


def main(name: str, workload: str, threads: int, folder: Path) -> None:
    """Run one engine and print."""
    keep_to(threads)
    try:
        found = measure(name, workload, threads, folder)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises: the table tells it
        found = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
