"""All findings of the demo, from the vectors of each method."""

from collections.abc import Sequence

from ctxembed.evaluation.changed_hits import find_changes
from ctxembed.evaluation.comparison import compare, heat_map
from ctxembed.evaluation.corpus import Corpus
from ctxembed.evaluation.dataset import Dataset
from ctxembed.evaluation.methods import MethodVectors, Vectors
from ctxembed.evaluation.metrics import score
from ctxembed.evaluation.result import DemoResult, MethodResult, Provenance
from ctxembed.evaluation.verdict import verdict, verdict_alone
from ctxembed.search import nearest

_DEPTH = 10
"""How many chunks of each ranking are looked at."""


def find(
    data: Dataset,
    corpus: Corpus,
    methods: Sequence[MethodVectors],
    questions: Vectors,
    *,
    provenance: Provenance,
    seed: int,
) -> DemoResult:
    """Return everything that was found; `questions` are the unit vectors of the corpus' queries."""
    hits = {each.name: nearest(questions, each.vectors, _DEPTH).indexes for each in methods}
    scores = {name: score(ranked, corpus.relevant) for name, ranked in hits.items()}
    documents = [query.document for query in corpus.queries]
    figures = compare(scores, documents, seed=seed)
    beyond = figures.get(("neighbours", "beyond"))
    free = figures["neighbours", "gain"]
    known = len(set(documents))
    changes = shown = None
    if beyond is None:
        sentence = verdict_alone(free, documents=known)
    else:
        changes = find_changes(
            corpus,
            hits["independent"][:, 0],
            hits["contextual"][:, 0],
            scores["contextual"]["nDCG@10"] - scores["independent"]["nDCG@10"],
        )
        by_name = {each.name: each.vectors for each in methods}
        shown = heat_map(corpus, by_name["independent"], by_name["contextual"])
        gain = figures["contextual", "gain"]
        sentence = verdict(gain, free, beyond, documents=known, own=data.own)
    return DemoResult(
        dataset=data.name,
        documents=len(corpus.documents),
        queries=len(corpus.queries),
        unanswered=corpus.unanswered,
        chunks=len(corpus.chunks),
        methods=tuple(
            MethodResult(
                name=each.name,
                figures=figures[each.name, "value"],
                gain=figures[each.name, "gain"],
                tokens=each.tokens,
                seconds=each.seconds,
            )
            for each in methods
        ),
        beyond=beyond,
        changes=changes,
        heat_map=shown,
        verdict=sentence,
        provenance=provenance,
    )
