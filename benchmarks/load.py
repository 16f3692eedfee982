"""The server under load: every answer checked against its own document, memory over time.

    python benchmarks/load.py                 # 10 minutes, 64 clients
    python benchmarks/load.py --minutes 0.5

The server is a process of its own on loopback. Clients are threads with a connection each. One
request in fifty hangs up before its answer. The counts are kept in `results/server_load.md`. The
script ends with an error if an answer was lost or mixed up.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import machine
import numpy as np
from report import markdown, write_page
from server_process import connect, documents, embed, hang_up, request_body, rows_of, server

from ctxembed import Embedder

RESULTS = Path(__file__).parent / "results" / "server_load.md"
LIBRARIES = ("numpy", "onnxruntime", "torch", "uvicorn")
COLUMNS = ("after", "server's memory", "descriptors", "answers right", "hung up", "lost or mixed")


class Load:
    """Clients that check each answer against its own document, and now and then hang up instead."""

    def __init__(self, port: int, chosen: list[list[str]], expected: list[np.ndarray]) -> None:
        self.port = port
        self.bodies = [request_body(document) for document in chosen]
        self.expected = expected
        self.counts: Counter[str] = Counter()
        self.over = threading.Event()
        self._lock = threading.Lock()

    def client(self, seed: int) -> None:
        """Ask until it is over."""
        chance = random.Random(seed)
        connection = connect(self.port)
        while not self.over.is_set():
            number = chance.randrange(len(self.bodies))
            if chance.random() < 0.02:
                hang_up(connection, self.bodies[number])
                self.count("hung up")
                continue
            try:
                status, body = embed(connection, self.bodies[number])
            except OSError as error:
                self.count(f"lost: {type(error).__name__}")
                connection.close()
                continue
            self.count(self.verdict(number, status, body))
            if status == 429:
                time.sleep(1)

    def count(self, what: str) -> None:
        """Count; `+=` on a counter is no single step."""
        with self._lock:
            self.counts[what] += 1

    def verdict(self, number: int, status: int, body: bytes) -> str:
        """Say whether an answer is that of its own document."""
        if status != 200:
            return str(status)
        wanted, rows = (a.astype(float) for a in (self.expected[number], rows_of(body)))
        if rows.shape != wanted.shape:
            return "MIXED"
        norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted, axis=1)
        return "right" if ((rows * wanted).sum(axis=1) / norms > 0.999).all() else "MIXED"


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Run for some minutes, then print and write counts, resident memory and descriptors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--documents", type=int, default=512)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=60, help="seconds between figures")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS, help="where the table goes")
    arguments = parser.parse_args()
    told = machine.describe(LIBRARIES)  # now: later the load is that of this run
    chosen = documents(arguments.documents)
    with Embedder.open(model=arguments.model) as embedder:
        expected = embedder.embed_documents(chosen)
    with server(arguments.model) as (port, process):
        running = Load(port, chosen, expected)
        threads = [
            threading.Thread(target=running.client, args=(seed,))
            for seed in range(arguments.clients)
        ]
        for thread in threads:
            thread.start()
        rows = list(watch(running, process.pid, arguments))
        running.over.set()
        for thread in threads:
            thread.join()
    told["Measured"] = (
        f"{arguments.model}, {arguments.clients} clients, {arguments.documents} documents, one "
        f"per request; {arguments.minutes:g} minutes"
    )
    told["In the end"] = (
        ", ".join(f"{name}: {count:,}" for name, count in sorted(running.counts.items()))
        + f"; the server ended with {process.returncode}"
    )
    lines = markdown(COLUMNS, rows)
    write_page(arguments.out, "The server under load", "python benchmarks/load.py", told, lines)
    if wrong(running.counts):
        sys.exit("answers were lost or mixed up")


def watch(running: Load, pid: int, arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Yield a row every so many seconds until time is up."""
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < 60 * arguments.minutes:
        time.sleep(min(arguments.every, 60 * arguments.minutes - elapsed))
        row = [
            f"{time.monotonic() - started:.0f} s",
            f"{resident(pid):.1f} MiB",
            str(len(list(Path(f"/proc/{pid}/fd").iterdir()))),
            f"{running.counts['right']:,}",
            f"{running.counts['hung up']:,}",
            f"{wrong(running.counts):,}",
        ]
        print(*row, sep="  ", file=sys.stderr, flush=True)
        yield row


def wrong(counts: Counter[str]) -> int:
    """Return how many answers were lost or mixed up."""
    return sum(n for name, n in counts.items() if name == "MIXED" or name.startswith("lost"))


if __name__ == "__main__":
    main()
