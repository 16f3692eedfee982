"""The chunks nearest to one query vector, over any number of batches of rows.

One batch and the hits found so far are held. Scores and ties are those of `ctxembed.search`; which
chunks count is decided here.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ctxembed import search
from ctxembed.documents import is_blank
from ctxembed.encoding import Array, Encoding, pack_bits
from ctxembed.files.parquet import Rows

BITS: tuple[Encoding, ...] = ("binary", "ubinary")
"""Encodings that are compared by the Hamming distance; the others by the cosine."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and its score: the cosine, or the number of differing bits (less is nearer)."""

    score: float
    id: str
    index: int
    text: str


def nearest(query: Array, batches: Iterable[Rows], encoding: Encoding, k: int) -> list[Hit]:
    """Return the `k` nearest chunks, nearest first; of equal ones the earlier first.

    A zero row stands for a chunk that the model never saw: it is never a hit. Packed bits cannot
    tell it from a vector, which is why `ctxembed embed` writes none there.
    """
    sign = 1 if encoding in BITS else -1
    hits: list[Hit] = []
    for rows in batches:
        hits += _hits(query, rows, encoding, k)
        hits = heapq.nsmallest(k, hits, key=lambda hit: sign * hit.score)
    return hits


def _hits(query: Array, rows: Rows, encoding: Encoding, k: int) -> Iterator[Hit]:
    told = np.array([not is_blank(text) for text in rows.texts], np.bool_)
    if encoding != "ubinary":
        told &= rows.vectors.any(axis=1)
    numbers = np.flatnonzero(told)
    queries, vectors = query[None], rows.vectors[numbers]
    if encoding == "binary":
        queries, vectors = pack_bits(queries), pack_bits(vectors)
    found = search.nearest(queries, vectors, k)
    for score, at in zip(found.scores[0].tolist(), found.indexes[0].tolist(), strict=True):
        if math.isfinite(score):
            number = numbers[at]
            yield Hit(score, rows.ids[number], rows.indexes[number], rows.texts[number])
