"""A sweep of twelve settings over several collections, by their labels and by simulated queries.

    python benchmarks/evaluate.py --data FOLDER --data FOLDER --cache FOLDER [--documents SET=COUNT]

The demo's tales are always among the collections. `--cache` keeps the vectors, so that a run that
was stopped goes on, and both kinds of queries read each text once.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from machine import describe
from report import markdown, write_page

from ctxembed import Settings
from ctxembed.evaluation import Collection, Comparison, evaluate, load_collection, simulate
from ctxembed.evaluation.plots import sweep_svg
from ctxembed.evaluation.result import RunResult
from ctxembed.evaluation.words import difference, interval

RESULTS = Path(__file__).parent / "results" / "evaluate.md"
STYLE = Path(__file__).parents[1] / "packages/core/src/ctxembed/evaluation/report.css"
VARY = {
    "chunk_tokens": [64, 128, 256],
    "context_weight": [0.0, 0.5],
    "encoding": ["int8", "ubinary"],
}
COLUMNS = (
    *("", "chunk_tokens", "context_weight", "encoding", "nDCG@10", "difference", "MRR@10"),
    *("tokens read", "bytes stored", "simulated nDCG@10", "difference, simulated"),
)
MEANING = """
The first row is each chunk alone, and all differences are to it, with 95 % intervals over draws of
whole documents. Tokens and bytes are multiples of that row's. A + marks settings that no other
beats. Larger chunks are given no more text than ten chunks of the first row.
"""


def first_documents(collection: Collection, count: int | None) -> Collection:
    """Return a collection with its first documents only, and their queries."""
    documents = collection.documents[:count]
    names = {document.id for document in documents}
    queries = tuple(each for each in collection.queries if names & each.answers.keys())
    return replace(collection, documents=documents, queries=queries)


def row(run: RunResult, simulated: RunResult, first: RunResult) -> list[str]:
    """Return the cells of a setting, by labels and by simulated queries."""

    def gain(of: RunResult) -> str:
        found = of.gain["nDCG@10"]
        return f"{difference(found)} ({interval(found, signed=True)})"

    return [
        f"{'+ ' if run.best else ''}{run.name}",
        *(value for _, value in run.settings),
        f"{run.figures['nDCG@10'].value:.3f}",
        "" if run is first else gain(run),
        f"{run.figures['MRR@10'].value:.3f}",
        f"{run.tokens / first.tokens:.2f}",
        f"{run.stored_bytes / first.stored_bytes:.2f}",
        f"{simulated.figures['nDCG@10'].value:.3f}",
        "" if run is first else gain(simulated),
    ]


def quality(run: RunResult) -> float:
    """Return the nDCG@10 of a run."""
    return run.figures["nDCG@10"].value


def signs(labelled: Comparison, simulated: Comparison) -> str:
    """Return for how many chunk sizes and encodings context gains or loses by both queries."""
    known = []
    for found in (labelled, simulated):
        by_settings = {tuple(value for _, value in run.settings): run for run in found.runs[::-1]}
        known.append(
            [
                quality(by_settings[size, "0.5", code]) - quality(by_settings[size, "0", code])
                for size in map(str, VARY["chunk_tokens"])
                for code in VARY["encoding"]
            ]
        )
    same = sum((one > 0) == (two > 0) for one, two in zip(*known, strict=True))
    return f"{same} of {len(known[0])}"


def order(labelled: Comparison, simulated: Comparison) -> str:
    """Return the share of pairs of settings that are in the same order by both queries."""
    pairs = [*combinations(range(len(labelled.runs)), 2)]

    def rises(found: Comparison, one: int, two: int) -> bool:
        return quality(found.runs[one]) < quality(found.runs[two])

    same = sum(rises(labelled, *pair) == rises(simulated, *pair) for pair in pairs)
    return f"{same / len(pairs):.0%}"


def chart(runs: Sequence[RunResult], out: Path) -> None:
    """Write the chart of a sweep as a file of its own, in the colours of the report."""
    colours = STYLE.read_text(encoding="utf-8").partition("* {")[0]
    out.parent.mkdir(parents=True, exist_ok=True)
    head, close, rest = sweep_svg(runs).partition(">")
    out.write_text(f"{head}{close}<style>{colours}</style>{rest}", encoding="utf-8")


def section(labelled: Comparison, simulated: Comparison, out: Path) -> list[str]:
    """Return what is told of one collection, and write its chart."""
    picture = out.with_name(f"{out.stem}_{labelled.collection}.svg")
    chart(labelled.runs, picture)
    both = zip(labelled.runs, simulated.runs, strict=True)
    rows = [row(run, other, labelled.runs[0]) for run, other in both]
    labels, others = (
        f"{labelled.queries:,} labelled queries",
        f"{simulated.queries} simulated ones",
    )
    return [
        f"## {labelled.collection}",
        "",
        f"{labelled.documents} documents, {labels}, {others}.",
        "",
        *(f"- By labels: {line}" for line in labelled.verdict.splitlines()),
        *(f"- By simulated queries: {line}" for line in simulated.verdict.splitlines()),
        "",
        *markdown(COLUMNS, rows),
        "",
        f"![nDCG@10 against cost, {labelled.collection}]({picture.name})",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", default=[], help="more collections")
    parser.add_argument("--documents", action="append", default=[], metavar="SET=COUNT")
    parser.add_argument("--cache", required=True, help="folder to keep vectors in")
    parser.add_argument("--out", type=Path, default=RESULTS)
    told = parser.parse_args()
    counts = {name: int(count) for name, count in (each.split("=") for each in told.documents)}
    settings = Settings(model="minilm", cache=told.cache)
    lines, agreement = [], []
    for folder in (None, *told.data):
        collection = load_collection(folder)
        collection = first_documents(collection, counts.get(collection.name))
        found = [
            evaluate(queries, settings, vary=VARY)
            for queries in (collection, simulate(collection))
        ]
        agreement.append([collection.name, signs(*found), order(*found)])
        lines += section(*found, told.out)
        print(*lines, sep="\n")
    facts = describe(("onnxruntime", "tokenizers", "numpy", "ir-measures"))
    columns = ("collection", "context has the same sign", "pairs of settings in the same order")
    opening = [MEANING, "## Simulated or labelled", "", *markdown(columns, agreement), ""]
    title = "A sweep of twelve settings, by labels and by simulated queries"
    write_page(told.out, title, "python benchmarks/evaluate.py", facts, [*opening, *lines])


if __name__ == "__main__":
    main()
