"""The server's throughput with many small clients, against the same documents embedded directly.

    python benchmarks/server.py                         # 1, 8 and 64 clients, one document a request
    python benchmarks/server.py --simulate 50000        # a device of so many tokens a second instead
    python benchmarks/server.py --minutes 10            # load: every answer checked, memory over time

The server is a process of its own on loopback, as `ctxembed serve` starts it. Clients are threads
with a plain HTTP connection each; they share the machine's cores with the server, the direct run has
them alone. CPU seconds are those of the process that holds the model. A simulated device sleeps 4 ms
a call and as long as its tokens take: what is left is what the server itself costs.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from ctxembed import MODELS, Embedder, embedder
from ctxembed.cli.serve import serve
from ctxembed.planning import Batch, Limits
from ctxembed.testing import FakeBackend

ROUTE = "/v1/contextualizedembeddings"
ALIAS = "bench"
WORDS = sorted(set(re.findall(r"[a-z]{4,}", (__doc__ + json.__doc__ + argparse.__doc__).lower())))


def documents(count: int, seed: int = 0) -> list[list[str]]:
    """Return documents of 1 to 8 chunks, 10 to 80 words each."""
    chance = random.Random(seed)
    return [
        [
            " ".join(chance.choices(WORDS, k=chance.randint(10, 80)))
            for _ in range(chance.randint(1, 8))
        ]
        for _ in range(count)
    ]


@contextmanager
def server(arguments: argparse.Namespace) -> Iterator[tuple[int, subprocess.Popen]]:
    """Start `serve` on a free port and wait until it is ready."""
    command = [sys.executable, __file__, "--simulate", str(arguments.simulate), "--serve"]
    process = subprocess.Popen(
        [*command, "--model", arguments.model], stderr=subprocess.PIPE, text=True
    )
    try:
        port = int(process.stderr.readline().partition(" ")[0].rpartition(":")[2])
        threading.Thread(target=process.stderr.read, daemon=True).start()
        while ask(HTTPConnection("127.0.0.1", port), "GET", "/ready")[0] != 200:
            time.sleep(0.1)
        yield port, process
    finally:
        process.terminate()
        process.wait(90)


def ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None):
    """Return status and body."""
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def request_body(document: list[str]) -> bytes:
    """Return the body that asks for one document."""
    return json.dumps({"model": ALIAS, "input": [document]}).encode()


def rows_of(body: bytes) -> np.ndarray:
    """Return the int8 rows of the only document of an answer."""
    (document,) = json.loads(body)["data"]
    rows = [np.frombuffer(base64.b64decode(r["embedding"]), np.int8) for r in document["data"]]
    return np.stack(rows)


def through_server(port: int, bodies: list[bytes], clients: int) -> float:
    """Return the seconds in which `clients` threads get all documents answered, one a request."""
    waiting = iter(bodies)
    lock = threading.Lock()
    failures: list[int] = []

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                return
            status, _ = ask(connection, "POST", ROUTE, body)
            if status != 200:
                failures.append(status)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"answers other than 200: {Counter(failures)}")
    return time.perf_counter() - started


def throughput(arguments: argparse.Namespace) -> None:
    """Print documents and tokens a second, directly and through the server, best of `repeat`."""
    chosen = documents(arguments.documents)
    bodies = [request_body(document) for document in chosen]
    with Embedder.open(model=arguments.model) as embedder:
        counts = [c.count for d in chosen for c in embedder.backend.tokenize(d)]
        tokens = sum(counts) + len(counts) - len(chosen)
    best: dict[str, tuple[float, float]] = {}
    for _ in range(arguments.repeat):
        with Embedder.open(model=arguments.model) as embedder:
            embedder.embed_documents(chosen[:16])
            cpu, started = processor(os.getpid()), time.perf_counter()
            embedder.embed_documents(chosen)
            seconds = time.perf_counter() - started
            keep(best, "direct", seconds, processor(os.getpid()) - cpu)
        with server(arguments) as (port, process):
            through_server(port, bodies[:16], 4)
            for clients in arguments.clients:
                cpu = processor(process.pid)
                seconds = through_server(port, bodies, clients)
                keep(best, f"{clients} clients", seconds, processor(process.pid) - cpu)
    print(f"{len(chosen)} documents, {len(counts)} chunks, {tokens:,} tokens, {arguments.model}")
    for name, (seconds, cpu) in best.items():
        print(
            f"{name:>12} {len(chosen) / seconds:8.1f} documents/s {tokens / seconds:10,.0f} tokens/s "
            f"{best['direct'][0] / seconds:6.1%} of direct, {cpu:6.1f} s of CPU"
        )


def keep(best: dict[str, tuple[float, float]], name: str, seconds: float, cpu: float) -> None:
    """Keep the shortest time of each name, and the least CPU time."""
    before = best.get(name, (seconds, cpu))
    best[name] = min(seconds, before[0]), min(cpu, before[1])


def processor(pid: int) -> float:
    """Return the seconds of CPU that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Simulated(FakeBackend):
    """A device that takes its time and no processor, behind the spec of the smallest official model."""

    def __init__(self, rate: int) -> None:
        super().__init__(MODELS[0], Limits(batch_tokens=32_768))
        self.rate = rate

    def embed(self, batch: Batch) -> list[np.ndarray]:
        time.sleep(0.004 + sum(window.tokens for window in batch.windows) / self.rate)
        rows = super().embed(batch)
        self.batches.clear()
        return rows


def simulate(rate: int) -> None:
    """Open simulated devices in place of models from now on, in this process."""
    embedder.open_backend = lambda *_: Simulated(rate)


class Load:
    """Clients that check each answer against its own document, and now and then hang up instead."""

    def __init__(self, port: int, chosen: list[list[str]], expected: list[np.ndarray]) -> None:
        self.port = port
        self.bodies = [request_body(document) for document in chosen]
        self.expected = expected
        self.counts: Counter[str] = Counter()
        self.over = threading.Event()

    def client(self, seed: int) -> None:
        """Ask until it is over."""
        chance = random.Random(seed)
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        while not self.over.is_set():
            number = chance.randrange(len(self.bodies))
            if chance.random() < 0.02:
                connection.request("POST", ROUTE, self.bodies[number])
                connection.close()
                self.counts["hung up"] += 1
                continue
            try:
                status, body = ask(connection, "POST", ROUTE, self.bodies[number])
            except OSError as error:
                self.counts[f"lost: {type(error).__name__}"] += 1
                connection.close()
                continue
            self.counts[self.verdict(number, status, body)] += 1
            if status == 429:
                time.sleep(1)

    def verdict(self, number: int, status: int, body: bytes) -> str:
        """Say whether an answer is that of its own document."""
        if status != 200:
            return str(status)
        wanted, rows = (a.astype(float) for a in (self.expected[number], rows_of(body)))
        if rows.shape != wanted.shape:
            return "MIXED"
        norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted, axis=1)
        return "right" if ((rows * wanted).sum(axis=1) / norms > 0.999).all() else "MIXED"


def load(arguments: argparse.Namespace) -> None:
    """Run for some minutes, and print counts and resident memory as it goes."""
    chosen = documents(arguments.documents)
    with Embedder.open(model=arguments.model) as embedder:
        expected = embedder.embed_documents(chosen)
    with server(arguments) as (port, process):
        running = Load(port, chosen, expected)
        threads = [
            threading.Thread(target=running.client, args=(seed,))
            for seed in range(max(arguments.clients))
        ]
        for thread in threads:
            thread.start()
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < 60 * arguments.minutes:
            left = 60 * arguments.minutes - elapsed
            time.sleep(min(arguments.every, left))
            seconds = time.monotonic() - started
            print(
                f"{seconds:6.0f} s  {resident(process.pid):7.1f} MiB  {dict(running.counts)}",
                flush=True,
            )
        running.over.set()
        for thread in threads:
            thread.join()
    wrong = {k: v for k, v in running.counts.items() if k == "MIXED" or k.startswith("lost")}
    print(dict(running.counts), f"server ended with {process.returncode}")
    if wrong:
        sys.exit(f"lost or mixed answers: {wrong}")


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Read the options and run one of the two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--documents", type=int, default=512)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument(
        "--every", type=float, default=30, help="seconds between figures under load"
    )
    parser.add_argument("--simulate", type=int, default=0, help="tokens a second, 0 for the model")
    parser.add_argument(
        "--serve", action="store_true", help="be the server; for this script itself"
    )
    arguments = parser.parse_args()
    if arguments.simulate:
        simulate(arguments.simulate)
    if arguments.serve:
        serve(model=arguments.model, port=0, alias=[ALIAS])
    else:
        (load if arguments.minutes else throughput)(arguments)


if __name__ == "__main__":
    main()
