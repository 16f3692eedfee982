"""The server's throughput with many small clients, against the same documents embedded directly.

    python benchmarks/server.py                     # minilm; 1, 8 and 64 clients
    python benchmarks/server.py --random-weights    # through torch: 4 layers of the 0.6b's shape
    python benchmarks/server.py --simulate 50000    # a device of so many tokens per second instead
    python benchmarks/server.py --processes 1 2     # one process on all cores, two on half of them

The server is a process of its own on loopback, as `ctxembed serve` starts it. Clients are threads
with a plain HTTP connection each, and send one document per request. They share the machine's cores
with the server; the direct run has the cores alone. Each figure is the best of `--repeat` rounds,
in which all are taken in turn. CPU seconds are those of the processes that hold the model. Each of
the commands above writes its own table in `results`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import machine
from server_process import (
    connect,
    documents,
    embed,
    processor_seconds,
    request_body,
    server,
    simulate,
)
from workloads import write_checkpoint

from ctxembed import Embedder

RESULTS = Path(__file__).parent / "results"
LAYERS = 4
LIBRARIES = ("numpy", "onnxruntime", "torch", "uvicorn")

Best = dict[str, tuple[float, float]]
"""Shortest seconds and least CPU seconds of each row."""


def through_servers(ports: list[int], bodies: list[bytes], clients: int) -> float:
    """Return the seconds until threads, spread over the servers, have all documents answered."""
    mine = threading.local()
    turns = itertools.cycle(ports)

    def begin() -> None:
        mine.connection = connect(next(turns))

    started = time.perf_counter()
    with ThreadPoolExecutor(clients, initializer=begin) as pool:
        statuses = Counter(pool.map(lambda body: embed(mine.connection, body)[0], bodies))
    seconds = time.perf_counter() - started
    if set(statuses) != {200}:
        sys.exit(f"answers other than 200: {statuses}")
    return seconds


def directly(arguments: argparse.Namespace, chosen: list[list[str]], best: Best) -> None:
    """Embed all documents in one call."""
    with Embedder.open(model=arguments.model) as embedder:
        embedder.embed_documents(chosen[:16])
        cpu, started = processor_seconds(os.getpid()), time.perf_counter()
        embedder.embed_documents(chosen)
        seconds = time.perf_counter() - started
        keep(best, "direct", seconds, processor_seconds(os.getpid()) - cpu)


def served(arguments: argparse.Namespace, count: int, bodies: list[bytes], best: Best) -> None:
    """Send all documents to `count` servers, each on its share of the cores."""
    cores = sorted(os.sched_getaffinity(0))
    shares = [set(cores[n::count]) or {cores[n % len(cores)]} for n in range(count)]
    with ExitStack() as stack:
        started = [
            stack.enter_context(server(arguments.model, simulate=arguments.simulate, cores=share))
            for share in shares
        ]
        ports, processes = zip(*started, strict=True)
        through_servers(list(ports), bodies[:16], 4)
        for clients in arguments.clients:
            cpu = sum(processor_seconds(process.pid) for process in processes)
            seconds = through_servers(list(ports), bodies, clients)
            cpu = sum(processor_seconds(process.pid) for process in processes) - cpu
            several = f", processes: {count}" if len(arguments.processes) > 1 else ""
            keep(
                best, f"{clients} {'client' if clients == 1 else 'clients'}{several}", seconds, cpu
            )


def keep(best: Best, name: str, seconds: float, cpu: float) -> None:
    """Keep the shortest time of each name, and the least CPU time."""
    before = best.get(name, (seconds, cpu))
    best[name] = min(seconds, before[0]), min(cpu, before[1])


def table(arguments: argparse.Namespace, chosen: list[list[str]], best: Best) -> str:
    """Return what was measured, as Markdown."""
    with Embedder.open(model=arguments.model) as embedder:
        counts = [c.count for d in chosen for c in embedder.backend.tokenize(d)]
    tokens = sum(counts) + len(counts) - len(chosen)
    rows = [
        f"| {name} | {len(chosen) / seconds:,.1f} | {tokens / seconds:,.0f} "
        f"| {best['direct'][0] / seconds:.1%} | {cpu:.1f} |"
        for name, (seconds, cpu) in best.items()
    ]
    facts = [f"- {name}: {value}" for name, value in arguments.machine.items()]
    return "\n".join(
        [
            f"# The server's throughput: {arguments.what}",
            "",
            f"`python benchmarks/server.py {' '.join(sys.argv[1:])}`".replace(" `", "`"),
            "",
            f"{len(chosen)} documents, {len(counts):,} chunks, {tokens:,} tokens; one document a",
            f"request; best of {arguments.repeat} rounds.",
            "",
            *facts,
            "",
            "| | documents/s | tokens/s | of direct | CPU seconds |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def options() -> argparse.Namespace:
    """Return the options, with what is measured and the file that it is kept in."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument(
        "--simulate", type=int, default=0, help="tokens per second, 0 for the model"
    )
    parser.add_argument("--documents", type=int, default=512)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-write", action="store_true")
    arguments = parser.parse_args()
    arguments.machine = machine.describe(LIBRARIES)  # now: later the load is that of this run
    arguments.what, arguments.file = arguments.model, "server"
    if arguments.simulate:
        arguments.what, arguments.file = "a simulated device", "server_simulated"
    if arguments.random_weights:
        arguments.what, arguments.file = "torch, 4 layers of the 0.6b's shape", "server_torch"
    if len(arguments.processes) > 1:
        arguments.what += ", several processes"
        arguments.file += "_processes"
    return arguments


def main() -> None:
    """Measure, print the table and keep it."""
    arguments = options()
    if arguments.simulate:
        simulate(arguments.simulate)
    chosen = documents(arguments.documents)
    bodies = [request_body(document) for document in chosen]
    best: Best = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.random_weights:
            arguments.model = str(write_checkpoint(Path(folder), LAYERS))
        for _ in range(arguments.repeat):
            directly(arguments, chosen, best)
            for count in arguments.processes:
                served(arguments, count, bodies, best)
        text = table(arguments, chosen, best)
    print(text)
    if not arguments.no_write:
        (RESULTS / f"{arguments.file}.md").write_text(text)


if __name__ == "__main__":
    main()
