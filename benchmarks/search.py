"""Exact search over int8 codes and packed bits, against plain numpy and usearch's exact search.

    python benchmarks/search.py                      # a million rows of 1,024 dimensions
    python benchmarks/search.py --rows 20000         # a trial

Every way runs in a process of its own on all cores, wall time. It needs `nox -s bench`'s packages.
"""

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from engines.timing import cores, keep_to
from machine import describe, peak_memory
from processes import run
from report import MIB, markdown, write_page

RESULTS = Path(__file__).parent / "results" / "search.md"
KINDS = {"int8": "int8 codes, cosine", "bits": "packed bits, Hamming distance"}
WAYS = {"ctxembed": "ctxembed.search", "numpy": "plain numpy", "usearch": "usearch, exact"}
QUERIES = (1, 64)
BEST = 10
RUNS = 3
COLUMNS = (
    "",
    "queries",
    "seconds",
    "GB/s",
    "of memory's speed",
    "same rows",
    "memory beside the rows",
)
MEANING = """
Rows are random and in memory. `GB/s` are the bytes of the rows over the seconds, however often they
are read. The memory's speed is that of all cores when they read the same rows once and keep the
largest word. `same rows` is the share of hits that ctxembed.search finds too. Its ties are decided
by the lower row number; the others leave equal distances of bits in any order. Plain numpy is one
product in float32 over all rows, or one XOR and one count of bits for each query. The memory is the
most that the process held, less what it held before the search.
"""


def vectors(kind: str, count: int, dimensions: int, seed: int) -> np.ndarray:
    """Return random rows, the same in every process."""
    random = np.random.default_rng(seed)
    if kind == "bits":
        return random.integers(0, 256, (count, dimensions // 8), np.uint8)
    return random.integers(-127, 128, (count, dimensions), np.int8)


def plain(kind: str, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return row numbers as one would write it without thinking of memory."""
    if kind == "bits":
        words, asked = rows.view(np.uint64), queries.view(np.uint64)
        counts = [np.bitwise_count(words ^ query).sum(axis=1) for query in asked]
        return np.stack([np.argsort(each, kind="stable")[:BEST] for each in counts])
    floats = rows.astype(np.float32)
    scores = queries.astype(np.float32) @ floats.T / np.linalg.norm(floats, axis=1)
    found = np.argpartition(-scores, BEST, axis=1)[:, :BEST]
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def searcher(way: str, kind: str):
    """Return a function of queries and rows that gives row numbers."""
    if way == "numpy":
        return partial(plain, kind)
    if way == "ctxembed":
        from ctxembed.search import nearest

        return lambda queries, rows: nearest(queries, rows, BEST).indexes
    from usearch.index import MetricKind, ScalarKind, search

    metric = MetricKind.Hamming if kind == "bits" else MetricKind.Cos
    dtype = ScalarKind.B1 if kind == "bits" else ScalarKind.I8

    def exact(queries, rows):
        found = search(rows, queries, BEST, metric, exact=True, threads=cores(), dtype=dtype)
        return found.keys.reshape(len(queries), -1)

    return exact


def one(told: argparse.Namespace) -> None:
    """Search one way, and print the seconds, the memory, and the row numbers."""
    keep_to(cores())
    way, kind = told.one.split("/")
    rows = vectors(kind, told.rows, told.dimensions, 0)
    queries = vectors(kind, told.queries, told.dimensions, 1)
    search = searcher(way, kind)
    before, seconds = peak_memory(), []
    for _ in range(RUNS):
        start = time.perf_counter()
        found = search(queries, rows)
        seconds.append(time.perf_counter() - start)
    facts = {"seconds": min(seconds), "memory": peak_memory() - before, "bytes": rows.nbytes}
    print(json.dumps(facts | {"speed": memory_speed(rows), "found": found.tolist()}))


def memory_speed(rows: np.ndarray) -> float:
    """Return the bytes of rows over the seconds in which all cores read them once, the best run."""
    parts, seconds = np.array_split(rows.view(np.uint64), cores()), []
    with ThreadPoolExecutor(len(parts)) as pool:
        for _ in range(RUNS):
            start = time.perf_counter()
            list(pool.map(np.max, parts))
            seconds.append(time.perf_counter() - start)
    return rows.nbytes / min(seconds)


def row(way: str, queries: int, took: dict, ours: dict, speed: float) -> list[str]:
    """Return the cells of one way; `speed` is memory's, in bytes per second."""
    if "failed" in took:
        return [WAYS[way], str(queries), f"not run: {took['failed']}", "", "", "", ""]
    rate = took["bytes"] / took["seconds"]
    same = [len(set(a) & set(b)) for a, b in zip(took["found"], ours["found"], strict=True)]
    return [
        WAYS[way],
        str(queries),
        f"{took['seconds']:.3f}",
        f"{rate / 1e9:.2f}",
        f"{rate / speed:.0%}",
        f"{np.mean(same) / BEST:.1%}",
        f"{took['memory'] / MIB:,.0f} MiB",
    ]


def table(kind: str, told: argparse.Namespace) -> list[str]:
    """Return the lines on one kind of rows."""
    size = ["--rows", told.rows, "--dimensions", told.dimensions]
    took = {
        (way, queries): run("search", "--one", f"{way}/{kind}", "--queries", queries, *size)
        for queries in QUERIES
        for way in WAYS
    }
    for queries in QUERIES:
        if "failed" in took["ctxembed", queries]:
            sys.exit(took["ctxembed", queries]["failed"])
    speed = max(each.get("speed", 0) for each in took.values())
    rows = [
        row(way, queries, each, took["ctxembed", queries], speed)
        for (way, queries), each in took.items()
    ]
    opening = f"Memory gives {speed / 1e9:.1f} GB/s: {took['ctxembed', 1]['bytes'] / speed:.3f} s."
    return [f"## {KINDS[kind]}", "", opening, "", *markdown(COLUMNS, rows), ""]


def main() -> None:
    """Measure every way, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--queries", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=1024)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    told = parser.parse_args()
    if told.one:
        one(told)
        return
    machine = describe(("numpy", "usearch"))
    lines = [line for kind in KINDS for line in table(kind, told)]
    machine["Measured"] = (
        f"{told.rows:,} rows of {told.dimensions:,} dimensions, k = {BEST}, {cores()} threads, "
        f"wall time, best of {RUNS}"
    )
    command = "python benchmarks/search.py"
    write_page(told.out, "Exact search", command, machine, [*lines, MEANING])


if __name__ == "__main__":
    main()
