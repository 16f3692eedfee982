"""The methods side by side: scores as figures with intervals, and a heat map of one document."""

from collections.abc import Mapping, Sequence
from typing import Literal

from ctxembed.evaluation.corpus import Corpus
from ctxembed.evaluation.intervals import estimate
from ctxembed.evaluation.methods import Method, Vectors
from ctxembed.evaluation.metrics import METRICS, Metric, Scores
from ctxembed.evaluation.result import Figures, HeatMap

HEAT_MAP_CHUNKS = 40
"""The heat map shows the document whose number of chunks is nearest to this one."""

Kind = Literal["value", "gain", "beyond"]


def compare(
    scores: Mapping[Method, Mapping[Metric, Scores]], documents: Sequence[str], *, seed: int
) -> dict[tuple[Method, Kind], Figures]:
    """Return each method's "value", its "gain" over independent, and its lead "beyond" contextual.

    `scores` holds one value per query, `documents` the document of each query.
    """
    bases: list[tuple[Kind, Mapping[Metric, Scores] | None]] = [
        ("value", None),
        ("gain", scores["independent"]),
    ]
    if "contextual" in scores:
        bases.append(("beyond", scores["contextual"]))
    columns: dict[tuple[Method, Kind, Metric], Scores] = {
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


def heat_map(
    corpus: Corpus, independent: Sequence[Vectors], contextual: Sequence[Vectors]
) -> HeatMap:
    """Return the cosines of the document whose number of chunks is nearest to 40."""
    sizes = [len(document) for document in corpus.documents]
    number = min(range(len(sizes)), key=lambda n: abs(sizes[n] - HEAT_MAP_CHUNKS))
    alone, together = independent[number], contextual[number]
    return HeatMap(
        title=corpus.documents[number][0].title,
        independent=alone @ alone.T,
        contextual=together @ together.T,
    )
