"""The ways side by side: rankings, scores, and figures with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ctxembed.evaluation.corpus import Corpus
from ctxembed.evaluation.intervals import estimate
from ctxembed.evaluation.methods import Way, WayName
from ctxembed.evaluation.metrics import METRICS, Metric, Scores
from ctxembed.evaluation.result import Figures, HeatMap

HEAT_MAP_CHUNKS = 40
"""The heat map shows the document nearest to so many chunks: enough to see, few enough to read."""

Kind = Literal["value", "gain", "beyond"]


def compare(
    scores: Mapping[WayName, Mapping[Metric, Scores]], documents: Sequence[str], *, seed: int
) -> dict[tuple[WayName, Kind], Figures]:
    """Return each way's "value", its "gain" over independent, and what it has "beyond" contextual.

    `scores` holds a value a query, `documents` the document of each query.
    """
    bases: list[tuple[Kind, Mapping[Metric, Scores] | None]] = [
        ("value", None),
        ("gain", scores["independent"]),
    ]
    if "contextual" in scores:
        bases.append(("beyond", scores["contextual"]))
    columns: dict[tuple[WayName, Kind, Metric], Scores] = {
        (name, kind, metric): mine[metric] - (0 if base is None else base[metric])
        for name, mine in scores.items()
        for kind, base in bases
        for metric in METRICS
    }
    found = estimate(columns, documents, seed=seed)
    return {
        (name, kind): {metric: found[name, kind, metric] for metric in METRICS}
        for name in scores
        for kind, _ in bases
    }


def heat_map(corpus: Corpus, independent: Way, contextual: Way) -> HeatMap:
    """Return the cosines of the document whose number of chunks is nearest to 40."""
    sizes = [len(document) for document in corpus.documents]
    number = min(range(len(sizes)), key=lambda n: abs(sizes[n] - HEAT_MAP_CHUNKS))
    alone, together = independent.vectors[number], contextual.vectors[number]
    return HeatMap(
        title=corpus.documents[number][0].title,
        independent=alone @ alone.T,
        contextual=together @ together.T,
    )
