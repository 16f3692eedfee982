"""Which `neighbour_weight` retrieves best, on several sets of data, chunk sizes and models.

    python benchmarks/neighbours.py --data FOLDER --data FOLDER --vectors FOLDER
    python benchmarks/neighbours.py --data FOLDER ... --model mpnet=DIRECTORY \
        --documents mpnet:qmsum_val=4 --sizes mpnet=64

Each chunk is read twice, with its siblings and alone. Every share is mixed from those two vectors
by the core's own functions. `--vectors` keeps them, so that a run that was stopped can go on.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from machine import describe
from report import markdown, write_page

from ctxembed import Embedder
from ctxembed.encoding import normalize
from ctxembed.evaluation import Collection, by_tokens, cut, load_collection
from ctxembed.evaluation.experiment import NEIGHBOUR_WEIGHT
from ctxembed.evaluation.intervals import Estimate, estimate
from ctxembed.evaluation.metrics import METRICS, score
from ctxembed.evaluation.shared_vectors import mixed
from ctxembed.models import UNTRAINED_WEIGHT
from ctxembed.search import nearest

RESULTS = Path(__file__).parent / "results" / "neighbours.md"
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
CHUNK_TOKENS = (32, 64, 128)
COLUMNS = (
    "vectors",
    *METRICS,
    *(f"{metric} to n = 0" for metric in METRICS),
    *(f"{metric} to the free rival" for metric in METRICS),
)
MEANING = """
"n" is `neighbour_weight` beside `context_weight` 0.5 and windows of 256 tokens; n = 0 is the recipe
before there was this setting. The free rival reads each chunk alone and adds the neighbours
(`context_weight` 0, `neighbour_weight` 0.5). Differences stand with their 95 % interval, over draws
of whole documents; bold ones have 0 outside.
"""
RULE = """
The rule was written down before the figures were seen: on two sets, over all models and chunk
sizes, take the n with the highest mean nDCG@10 among those whose mean MRR@10 is not below that of
n = 0. The third set tells what that n is worth where it was not chosen.
"""


@dataclass(frozen=True)
class Case:
    """One set of data, cut into chunks of one size, for one model: scores by way, one per query."""

    model: str
    data: str
    size: int
    documents: list[str]
    scores: dict[str, dict[str, np.ndarray]]


def first_documents(data: Collection, count: int | None) -> Collection:
    """Return a set with its first documents only, and their queries."""
    documents = data.documents[:count]
    names = {document.id for document in documents}
    queries = tuple(query for query in data.queries if names & query.answers.keys())
    return replace(data, documents=documents, queries=queries)


def embed(model: str, weight: float, texts: list[list[str]], kept: Path) -> list[np.ndarray]:
    """Return float vectors of documents at one context weight, without neighbours."""
    if not kept.is_file():
        with Embedder.open(
            model=model, encoding="float", context_weight=weight, neighbour_weight=0
        ) as embedder:
            rows = np.concatenate(list(embedder.stream(texts)))
        partial = kept.with_suffix(".part.npy")
        np.save(partial, rows)
        partial.replace(kept)
    return np.split(np.load(kept), np.cumsum([len(chunks) for chunks in texts])[:-1])


def case(name: str, model: str, data: Collection, size: int, folder: Path) -> Case:
    """Return the scores of every way."""
    with Embedder.open(model=model, encoding="float") as embedder:
        corpus = cut(data, by_tokens(embedder.backend.tokenize, size))
        questions = normalize(embedder.embed_queries([query.text for query in corpus.queries]))
    stem = f"{name}-{data.name}-{len(data.documents)}-{size}"
    contextual = embed(model, 1.0, corpus.texts, folder / f"{stem}-contextual.npy")
    alone = embed(model, 0.0, corpus.texts, folder / f"{stem}-alone.npy")
    ways = {
        "each chunk alone": [normalize(rows) for rows in alone],
        "free rival": [mixed(rows, rows, 0.0, NEIGHBOUR_WEIGHT) for rows in alone],
    }
    for share in SHARES:
        ways[f"n = {share:g}"] = [
            mixed(one, two, UNTRAINED_WEIGHT, share)
            for one, two in zip(contextual, alone, strict=True)
        ]
    scores = {
        way: score(nearest(questions, rows, 10).indexes, corpus.relevant)
        for way, rows in ways.items()
    }
    print(
        name,
        data.name,
        size,
        {way: f"{each['nDCG@10'].mean():.3f}" for way, each in scores.items()},
    )
    return Case(
        name, data.name, size, [next(iter(query.answers)) for query in corpus.queries], scores
    )


def shown(found: Estimate) -> str:
    """Return a difference with its interval, bold where 0 lies outside."""
    text = f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    return text if found.direction == "unclear" else f"**{text}**"


def table(one: Case) -> list[str]:
    """Return the table of one case."""
    columns = {
        (way, base, metric): found[metric] - one.scores[base][metric]
        for way, found in one.scores.items()
        for base in ("n = 0", "free rival")
        for metric in METRICS
    }
    differences = estimate(columns, one.documents)
    rows = [
        [
            way,
            *(f"{found[metric].mean():.3f}" for metric in METRICS),
            *(
                "" if way == base else shown(differences[way, base, metric])
                for base in ("n = 0", "free rival")
                for metric in METRICS
            ),
        ]
        for way, found in one.scores.items()
    ]
    return [
        "",
        f"## {one.model}, {one.data}, chunks of {one.size} tokens",
        "",
        *markdown(COLUMNS, rows),
    ]


def mean(cases: Iterable[Case], way: str, metric: str) -> float:
    """Return the mean over cases of the mean over queries."""
    return float(np.mean([each.scores[way][metric].mean() for each in cases]))


def chosen(cases: Sequence[Case]) -> str:
    """Return the way that the rule takes."""
    ways = [f"n = {share:g}" for share in SHARES]
    allowed = [w for w in ways if mean(cases, w, "MRR@10") >= mean(cases, "n = 0", "MRR@10")]
    return max(allowed, key=lambda way: mean(cases, way, "nDCG@10"))


def rotations(cases: Sequence[Case]) -> list[str]:
    """Return what is chosen without each of the sets, and what it is worth on that set."""
    rows = []
    for held in sorted({each.data for each in cases}):
        way = chosen([each for each in cases if each.data != held])
        there = [each for each in cases if each.data == held]
        row = [held, way]
        for metric in METRICS:
            values = (mean(there, w, metric) for w in (way, "n = 0", "free rival"))
            row.append(" / ".join(f"{value:.3f}" for value in values))
        rows.append(row)
    columns = (
        "held back",
        "chosen on the others",
        *(f"{m}: chosen / n = 0 / free" for m in METRICS),
    )
    return [
        "## The choice",
        RULE,
        *markdown(columns, rows),
        "",
        f"On all sets: {chosen(cases)}.",
        "",
    ]


def overview(cases: Sequence[Case]) -> list[str]:
    """Return the means of every way over all cases."""
    rows = [
        [way, *(f"{mean(cases, way, metric):.4f}" for metric in METRICS)]
        for way in cases[0].scores
    ]
    return ["## Means over all cases", "", *markdown(("vectors", *METRICS), rows), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", default=[], help="more sets of data")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=MODEL")
    parser.add_argument("--documents", action="append", default=[], metavar="[MODEL:]SET=COUNT")
    parser.add_argument("--vectors", type=Path, required=True, help="folder to keep vectors in")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--sizes", action="append", default=[], metavar="MODEL=TOKENS,TOKENS")
    told = parser.parse_args()
    told.vectors.mkdir(parents=True, exist_ok=True)
    models = {"minilm": "minilm"} | dict(each.split("=", 1) for each in told.model)
    counts = {name: int(count) for name, count in (each.split("=") for each in told.documents)}
    sizes = dict(each.split("=", 1) for each in told.sizes)
    cases = []
    for name, model in models.items():
        for folder in (None, *told.data):
            data = load_collection(folder)
            some = first_documents(data, counts.get(f"{name}:{data.name}", counts.get(data.name)))
            chosen_sizes = map(int, sizes[name].split(",")) if name in sizes else CHUNK_TOKENS
            cases += [case(name, model, some, size, told.vectors) for size in chosen_sizes]
    found = {(each.model, each.data): len(set(each.documents)) for each in cases}
    facts = describe(("onnxruntime", "torch", "numpy"))
    facts["documents with queries"] = ", ".join(f"{m} {d} {n}" for (m, d), n in found.items())
    lines = [MEANING, *rotations(cases), *overview(cases)]
    lines += [line for each in cases for line in table(each)]
    title = "neighbour_weight: which share retrieves best"
    write_page(told.out, title, "python benchmarks/neighbours.py", facts, lines)


if __name__ == "__main__":
    main()
