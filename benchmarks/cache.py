"""What the cache of vectors costs where nothing is found, and what a hit takes.

    python benchmarks/cache.py [--runs 5]

Each workload is embedded without a cache, with an empty one, and with one that has everything, in
turn. Two runs of the same work differ by several percent here, and the cache costs less than that:
the time spent in its three functions (key, find, keep) is added up in each run. Medians over the
rounds are told. The demo's documents are embedded by minilm, and so are 1,000 documents of 8 short
chunks each.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from machine import describe
from report import markdown, write_page

from ctxembed import Embedder
from ctxembed.cache.document_cache import DocumentCache
from ctxembed.cache.sqlite_file import FILE_NAME
from ctxembed.evaluation import by_tokens, cut, load_collection
from ctxembed.evaluation.experiment import CHUNK_TOKENS

RESULTS = Path(__file__).parent / "results" / "cache.md"
WORDS = ["mill", "ferry", "bakery", "orchard", "school", "bridge", "tannery", "market", "chapel"]


@dataclass(frozen=True)
class Took:
    """Seconds by the clock, those of them spent in the cache, tokens read, and the rows."""

    seconds: float
    in_cache: float
    tokens: int
    rows: np.ndarray


def short_documents(count: int) -> list[list[str]]:
    """Return documents of 8 chunks of about a dozen tokens, no two chunks alike."""
    return [
        [
            f"The {WORDS[(n + part) % 9]} of {1000 + n} stood by the {WORDS[n % 9]} {part} years."
            for part in range(8)
        ]
        for n in range(count)
    ]


def demo_documents() -> list[list[str]]:
    """Return the tales of the demo, cut as the demo cuts them."""
    with Embedder.open(model="minilm") as embedder:
        return cut(load_collection(), by_tokens(embedder.backend.tokenize, CHUNK_TOKENS)).texts


def timed(documents: list[list[str]], folder: str | None) -> Took:
    """Embed documents once; opening and closing are not counted, weights are shared."""
    with Embedder.open(model="minilm", cache=folder) as embedder, measured_cache() as spent:
        start = time.perf_counter()
        rows = np.concatenate(embedder.embed_documents(documents))
        return Took(time.perf_counter() - start, sum(spent), embedder.usage.tokens, rows)


@contextmanager
def measured_cache() -> Iterator[list[float]]:
    """Give a list to which every call of the cache adds its seconds."""
    spent: list[float] = []

    def measured(function: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            start = time.perf_counter()
            try:
                return function(*given)
            finally:
                spent.append(time.perf_counter() - start)

        return call

    names = ("key", "find", "keep")
    with ExitStack() as patches:
        for name in names:
            given = measured(getattr(DocumentCache, name))
            patches.enter_context(patch.object(DocumentCache, name, given))
        yield spent


def rounds(documents: list[list[str]], runs: int) -> tuple[list[dict[str, Took]], int]:
    """Return what each way took in each round, and the bytes of the cache's file."""
    found = []
    size = 0
    for number in range(runs):
        with TemporaryDirectory() as folder:
            ways: dict[str, Callable[[], Took]] = {
                "without a cache": lambda: timed(documents, None),
                "nothing found": lambda folder=folder: timed(documents, folder),
            }
            order = list(ways) if number % 2 else list(reversed(ways))
            took = {name: ways[name]() for name in order}
            took["everything found"] = timed(documents, folder)
            size = (Path(folder) / FILE_NAME).stat().st_size
        for name, each in took.items():
            assert np.array_equal(each.rows, took["without a cache"].rows), name
        found.append(took)
    return found, size


def table(name: str, documents: list[list[str]], runs: int) -> list[str]:
    """Return the lines about one workload."""
    found, size = rounds(documents, runs)
    chunks = sum(map(len, documents))
    rows = []
    for way in found[0]:
        times = [each[way].seconds / each["without a cache"].seconds for each in found]
        shares = [each[way].in_cache / each["without a cache"].seconds for each in found]
        rows.append(
            (
                way,
                f"{found[0][way].tokens:,}",
                f"{median(each[way].seconds for each in found):.3f}",
                f"{median(times):.4f} ({min(times):.4f} to {max(times):.4f})",
                f"{median(each[way].in_cache for each in found):.3f}",
                f"{median(shares):.3%} ({min(shares):.3%} to {max(shares):.3%})",
            )
        )
    hits = median(
        each["without a cache"].seconds / each["everything found"].seconds for each in found
    )
    columns = ("", "tokens read", "s", "ratio", "s in the cache", "share of the run without one")
    return [
        f"## {name}: {len(documents):,} documents, {chunks:,} chunks",
        "",
        *markdown(columns, rows),
        "",
        f"A run in which everything is found is {hits:,.0f} times faster.",
        f"The file has {size / chunks:,.0f} bytes per chunk.",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    told = parser.parse_args()
    timed([["warm", "up"]], None)
    with Embedder.open(model="minilm"):  # weights stay in memory
        lines = table("The demo's tales", demo_documents(), told.runs)
        lines += table("Short documents", short_documents(1000), told.runs)
    facts = describe(("onnxruntime", "numpy")) | {"rounds": told.runs}
    write_page(told.out, "The cache of vectors", "python benchmarks/cache.py", facts, lines)


if __name__ == "__main__":
    main()
