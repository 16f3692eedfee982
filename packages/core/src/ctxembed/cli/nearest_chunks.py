"""The chunks nearest to one query vector, over any number of batches of rows.

Only the hits found so far are held. Many queries against vectors in memory are ranked in
`evaluation.ranking`.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ctxembed.documents import is_blank
from ctxembed.encoding import Array, Encoding
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


def cosines(query: Array, rows: Array) -> Array:
    """Return the cosine of each row with the query; NaN where either has no length."""
    floats, target = rows.astype(np.float32), query.astype(np.float32)
    lengths = np.linalg.norm(floats, axis=1) * np.linalg.norm(target)
    with np.errstate(invalid="ignore"):
        found: Array = (floats @ target) / lengths
    return found


def differing_bits(query: Array, rows: Array, encoding: Encoding) -> Array:
    """Return in how many dimensions each row differs from the query; from packed bits or signs."""
    if encoding == "ubinary":
        rows, query = np.unpackbits(rows, axis=1), np.unpackbits(query)
    counts: Array = (rows != query).sum(axis=1)
    return counts


def nearest(query: Array, batches: Iterable[Rows], encoding: Encoding, k: int) -> list[Hit]:
    """Return the `k` nearest chunks, nearest first; of equal ones the earlier first.

    A zero row stands for a chunk that the model never saw: it is never a hit. Packed bits cannot
    tell it from a vector, which is why `ctxembed embed` writes none there.
    """
    sign = 1 if encoding in BITS else -1
    return heapq.nsmallest(k, _scored(query, batches, encoding), key=lambda hit: sign * hit.score)


def _scored(query: Array, batches: Iterable[Rows], encoding: Encoding) -> Iterator[Hit]:
    for rows in batches:
        if encoding in BITS:
            scores = differing_bits(query, rows.vectors, encoding)
        else:
            scores = cosines(query, rows.vectors)
        seen = np.logical_or(rows.vectors.any(axis=1), encoding == "ubinary")
        found = zip(
            scores.tolist(), seen.tolist(), rows.ids, rows.indexes, rows.texts, strict=True
        )
        for score, real, key, index, text in found:
            if real and not math.isnan(score) and not is_blank(text):
                yield Hit(score, key, index, text)
