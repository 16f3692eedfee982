"""From vectors to everything that the demo has to say."""

from __future__ import annotations

from collections.abc import Sequence

from ctxembed.evaluation.changed_hits import find_changes
from ctxembed.evaluation.comparison import compare, heat_map
from ctxembed.evaluation.corpus import Corpus
from ctxembed.evaluation.dataset import Dataset
from ctxembed.evaluation.methods import Vectors, Way
from ctxembed.evaluation.metrics import score
from ctxembed.evaluation.ranking import nearest
from ctxembed.evaluation.result import DemoResult, Facts, WayResult
from ctxembed.evaluation.verdict import verdict, verdict_alone


def assess(
    data: Dataset,
    corpus: Corpus,
    ways: Sequence[Way],
    questions: Vectors,
    *,
    facts: Facts,
    seed: int,
) -> DemoResult:
    """Return all that was found; `questions` are the unit vectors of the corpus' queries."""
    hits = {way.name: nearest(questions, way.vectors) for way in ways}
    scores = {name: score(ranked, corpus.relevant) for name, ranked in hits.items()}
    documents = [query.document for query in corpus.queries]
    figures = compare(scores, documents, seed=seed)
    beyond = figures.get(("neighbours", "beyond"))
    free = figures["neighbours", "gain"]
    known = len(set(documents))
    if beyond is None:
        changes = shown = None
        sentence = verdict_alone(free, documents=known)
    else:
        by_name = {way.name: way for way in ways}
        first = {name: ranked[:, 0] for name, ranked in hits.items()}
        changes = find_changes(
            corpus,
            first["independent"],
            first["contextual"],
            scores["contextual"]["nDCG@10"] - scores["independent"]["nDCG@10"],
        )
        shown = heat_map(corpus, by_name["independent"], by_name["contextual"])
        gain = figures["contextual", "gain"]
        sentence = verdict(gain, free, beyond, documents=known, own=data.own)
    return DemoResult(
        dataset=data.name,
        documents=len(corpus.documents),
        queries=len(corpus.queries),
        unanswered=corpus.unanswered,
        chunks=len(corpus.chunks),
        ways=tuple(
            WayResult(
                name=way.name,
                figures=figures[way.name, "value"],
                gain=figures[way.name, "gain"],
                tokens=way.tokens,
                seconds=way.seconds,
            )
            for way in ways
        ),
        beyond=beyond,
        changes=changes,
        heat_map=shown,
        verdict=sentence,
        facts=facts,
    )
