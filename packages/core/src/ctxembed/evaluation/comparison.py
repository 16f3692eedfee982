"""Runs side by side: scores as figures with intervals, which are unbeaten, and what they mean."""

from collections.abc import Mapping, Sequence

import numpy as np

from ctxembed.encoding import Array, Floats, normalize, unpack_bits
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.evaluation.changed_hits import find_changes
from ctxembed.evaluation.intervals import estimate
from ctxembed.evaluation.metrics import METRICS, Metric, Scores, score
from ctxembed.evaluation.recommendation import recommend, unbeaten
from ctxembed.evaluation.result import (
    Changes,
    Comparison,
    Figures,
    HeatMap,
    Provenance,
    RunResult,
)
from ctxembed.evaluation.run import DEPTH, Run, answers, ranking
from ctxembed.evaluation.verdict import verdict, verdict_alone

METHODS = ("independent", "contextual", "neighbours")
"""Names of runs that are compared in words too; the first run has to be the independent one."""

HEAT_MAP_CHUNKS = 40
"""The heat map shows the document whose number of chunks is nearest to this one."""

_SIMULATED = "The queries are simulated: nobody asked them."


def compare(runs: Sequence[Run], *, seed: int = 0, provenance: Provenance = ()) -> Comparison:
    """Return the figures of runs on one collection, and their differences to the first run.

    Chunks may differ between runs: only queries that each of them has an answer to are counted, and
    larger chunks than those of the first run are given as much text as ten of those are.
    `seed` is for the intervals: 95 % of draws of whole documents, the same draws for all runs.

    Raises:
        ConfigurationError: there is no run, or the runs are of several collections.
        InputError: no query has a relevant chunk in every run.
    """
    if len({run.corpus.collection.name for run in runs}) != 1:
        raise ConfigurationError("runs to compare are one or more, all of one collection.")
    corpus, collection = runs[0].corpus, runs[0].corpus.collection
    common = set.intersection(*({query.id for query in run.corpus.queries} for run in runs))
    kept = [query for query in collection.queries if query.id in common and query.answers]
    if not kept:
        raise InputError("no query has a relevant chunk in every run.")
    documents = [next(iter(query.answers)) for query in kept]
    scores = [_scores(run, runs[0], common) for run in runs]

    def less(number: int) -> list[Figures]:
        """Return what each run has more than the one with this number."""
        return _figures(
            [{m: each[m] - scores[number][m] for m in METRICS} for each in scores], documents, seed
        )

    figures, gains = _figures(scores, documents, seed), less(0)
    results = _results(runs, figures, gains)
    named = {run.name: number for number, run in enumerate(runs)}
    known = len(set(documents))
    said = [_SIMULATED] if collection.simulated else []
    if any(run.name not in METHODS for run in runs):
        best = max(range(len(runs)), key=lambda number: figures[number]["nDCG@10"].value)
        to_best = [each["nDCG@10"].direction for each in less(best)]
        said.append(recommend(results, to_best, documents=known))
    beyond = less(named["contextual"])[named["neighbours"]] if named.keys() >= {*METHODS} else None
    if runs[0].name == "independent" and "neighbours" in named:
        gain, free = gains[named.get("contextual", 0)], gains[named["neighbours"]]
        said.append(
            verdict(gain, free, beyond, documents=known, own=collection.own)
            if beyond
            else verdict_alone(free, documents=known)
        )
    changes, shown = _side_by_side(runs, named)
    return Comparison(
        collection=collection.name,
        documents=len(corpus.documents),
        queries=len(kept),
        unanswered=len(collection.queries) - len(kept),
        simulated=collection.simulated,
        runs=results,
        beyond=beyond,
        changes=changes,
        heat_map=shown,
        verdict="\n".join(said),
        provenance=provenance,
    )


def _scores(run: Run, first: Run, common: set[str]) -> dict[Metric, Scores]:
    """Return the scores of the common queries, in the order of the collection.

    Larger chunks than those of the first run are given as much text as ten of those are: ten
    larger ones would be better by that alone.
    """
    kept = [number for number, query in enumerate(run.corpus.queries) if query.id in common]
    places = DEPTH
    if not run.corpus.collection.whole:
        places = max(1, round(DEPTH * min(1, _characters(first) / _characters(run))))
    ranked, wanted = [row[:places] for row in ranking(run)], answers(run.corpus)
    return score([ranked[number] for number in kept], [wanted[number] for number in kept])


def _characters(run: Run) -> float:
    """Return how long a chunk is on average."""
    return sum(stop - start for start, stop in run.corpus.places) / len(run.corpus.places)


def _figures(
    scores: Sequence[Mapping[Metric, Scores]], documents: Sequence[str], seed: int
) -> list[Figures]:
    columns = {(n, metric): each[metric] for n, each in enumerate(scores) for metric in METRICS}
    found = estimate(columns, documents, seed=seed)
    return [{metric: found[n, metric] for metric in METRICS} for n in range(len(scores))]


def _results(
    runs: Sequence[Run], figures: Sequence[Figures], gains: Sequence[Figures]
) -> tuple[RunResult, ...]:
    points = [
        (each["nDCG@10"].value, run.tokens, len(run.corpus.places) * run.bytes_per_chunk)
        for run, each in zip(runs, figures, strict=True)
    ]
    return tuple(
        RunResult(
            name=run.name,
            settings=run.settings,
            figures=found,
            gain=gain,
            chunks=len(run.corpus.places),
            tokens=run.tokens,
            seconds=run.seconds,
            bytes_per_chunk=run.bytes_per_chunk,
            best=best,
        )
        for run, found, gain, best in zip(runs, figures, gains, unbeaten(points), strict=True)
    )


def _side_by_side(
    runs: Sequence[Run], named: Mapping[str, int]
) -> tuple[Changes | None, HeatMap | None]:
    """Return what context changed, where there are two runs that tell, of the same chunks."""
    if not named.keys() >= {"independent", "contextual"}:
        return None, None
    alone, together = runs[named["independent"]], runs[named["contextual"]]
    corpus = alone.corpus
    if together.corpus is not corpus:
        return None, None
    everything = {query.id for query in corpus.queries}
    one, two = (_scores(run, alone, everything)["nDCG@10"] for run in (alone, together))
    changes = find_changes(corpus, alone.hits[:, 0], together.hits[:, 0], two - one)
    return changes, _heat_map(alone, together)


def _heat_map(independent: Run, contextual: Run) -> HeatMap:
    """Return the cosines of the document whose number of chunks is nearest to 40."""
    corpus = independent.corpus
    sizes = [len(document) for document in corpus.documents]
    number = min(range(len(sizes)), key=lambda n: abs(sizes[n] - HEAT_MAP_CHUNKS))
    alone, together = (_units(run.vectors[number]) for run in (independent, contextual))
    return HeatMap(
        title=corpus.documents[number][0].title,
        independent=alone @ alone.T,
        contextual=together @ together.T,
    )


def _units(rows: Array) -> Floats:
    packed = rows.dtype == np.uint8
    return normalize(unpack_bits(rows, 8 * rows.shape[1]) if packed else rows)
