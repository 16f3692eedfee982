"""`Run`: the vectors of one setting, what they cost, and what they find for each query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxembed.encoding import Array
from ctxembed.evaluation.corpus import Corpus

DEPTH = 10
"""How many places of a ranking are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One setting on one corpus.

    `vectors` are those of the chunks, one array per document. `hits` are the numbers of the nearest
    chunks of each query of the corpus, nearest first, shape (queries, at least `depth(corpus)` or
    all chunks). `tokens` is what the model reads for all chunks, separators, overlaps and second
    passes included. `seconds` is the time for that, None where it is not known because a cache had
    vectors. `bytes_per_chunk` is what is stored of a chunk. `settings` are the names and values
    that tell this run from others.
    """

    name: str
    corpus: Corpus
    vectors: Sequence[Array]
    hits: NDArray[np.intp]
    tokens: int
    seconds: float | None
    bytes_per_chunk: float
    settings: tuple[tuple[str, str], ...] = ()


def depth(corpus: Corpus) -> int:
    """Return how many of the nearest chunks hold the first ten places, whatever they are.

    Where documents are ranked, nine of them may come with all of their chunks.
    """
    if not corpus.collection.whole:
        return DEPTH
    return (DEPTH - 1) * max(map(len, corpus.documents)) + 1


def ranking(run: Run) -> list[list[int]]:
    """Return the first ten of each query: numbers of chunks, or of documents where those count."""
    if not run.corpus.collection.whole:
        return [row[:DEPTH].tolist() for row in run.hits]
    units = document_numbers(run.corpus)
    return [[*dict.fromkeys(units[row].tolist())][:DEPTH] for row in run.hits]


def answers(corpus: Corpus) -> list[list[int]]:
    """Return what a ranking should have for each query: chunks, or documents where those count."""
    if not corpus.collection.whole:
        return corpus.relevant
    units = document_numbers(corpus)
    return [[*dict.fromkeys(units[numbers].tolist())] for numbers in corpus.relevant]


def document_numbers(corpus: Corpus) -> NDArray[np.intp]:
    """Return the number of the document of each chunk."""
    return np.repeat(np.arange(len(corpus.documents)), [len(each) for each in corpus.documents])
