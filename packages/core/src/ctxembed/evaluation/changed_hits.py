"""Queries whose first hit changed with context: for the better, for the worse, or neither."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ctxembed.evaluation.collection import Query
from ctxembed.evaluation.corpus import Chunk, Corpus
from ctxembed.evaluation.metrics import Scores
from ctxembed.evaluation.result import Change, Changes, Hit

EXAMPLES = 4
"""How many queries are shown of each kind."""


def find_changes(
    corpus: Corpus, before: NDArray[np.intp], after: NDArray[np.intp], gain: Scores
) -> Changes:
    """Return how many first hits changed, and the examples whose `gain` in nDCG is largest.

    `before` and `after` are the number of each query's first chunk, without and with context. No
    two examples of a kind are about one document: a single one could fill the list.
    """
    helped, hurt, other = [], [], 0
    for number, answers in enumerate(corpus.relevant):
        good = before[number] in answers, after[number] in answers
        if good == (False, True):
            helped.append(number)
        elif good == (True, False):
            hurt.append(number)
        elif before[number] != after[number]:
            other += 1
    helped.sort(key=lambda number: -gain[number])
    hurt.sort(key=lambda number: gain[number])
    shown = [*_examples(helped, corpus.queries), *_examples(hurt, corpus.queries)]
    chunks = corpus.chunks
    examples = tuple(
        Change(
            query=corpus.queries[number].text,
            title=chunks[corpus.relevant[number][0]].title,
            before=_hit(chunks, int(before[number]), corpus.relevant[number]),
            after=_hit(chunks, int(after[number]), corpus.relevant[number]),
        )
        for number in shown
    )
    return Changes(helped=len(helped), hurt=len(hurt), other=other, examples=examples)


def _examples(numbers: Sequence[int], queries: Sequence[Query]) -> Iterator[int]:
    seen: set[str] = set()
    for number in numbers:
        document = next(iter(queries[number].answers))
        if len(seen) < EXAMPLES and document not in seen:
            seen.add(document)
            yield number


def _hit(chunks: Sequence[Chunk], number: int, relevant: Collection[int]) -> Hit:
    chunk = chunks[number]
    return Hit(chunk.title, chunk.text, number in relevant)
