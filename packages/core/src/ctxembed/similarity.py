"""How similar rows are: cosines and Hamming distances of some queries and one block of rows.

A measure gives rough scores of all pairs, at most `margin` from the exact ones, and exact scores of
few pairs. More is better in both. Which pairs are few, and what is done with ties, is left to
`search`.
"""

import numpy as np
from numpy.typing import NDArray

from ctxembed.encoding import Array, Floats
from ctxembed.errors import InputError

_SAFE = (1e-30, 1e30)
"""Squared lengths that float32 gives without over- or underflow."""

_ONES = np.array([number.bit_count() for number in range(256)], np.uint8)


class Cosine:
    """Cosines of queries with the rows of a block, rough in float32 and exact in float64."""

    def __init__(self, queries: Array, scoring_bytes: int) -> None:
        self._queries = check_finite(queries, "query").astype(np.float64)
        self._squares = np.square(self._queries).sum(axis=1)
        lengths = np.sqrt(np.where(self._squares == 0, 1, self._squares))
        self._units = (self._queries / lengths[:, None]).astype(np.float32)
        dimensions = queries.shape[1]
        # Products of unit vectors err by at most dimensions * 2**-24, squared lengths likewise
        # (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1): with some slack.
        self.margin = 2 * (dimensions + 8) * 2.0**-24
        self.row_bytes = 12 * dimensions
        self._step = max(1, scoring_bytes // (32 * max(1, dimensions)))
        self._buffer = np.empty((0, dimensions), np.float32)

    def read(self, block: Array, first: int) -> None:
        """Take a block of rows, the first of which has the number `first`."""
        self._block = block
        if block.dtype == np.float32:
            floats = block
        else:
            if len(self._buffer) < len(block):
                self._buffer = np.empty(block.shape, np.float32)
            floats = self._buffer[: len(block)]
            floats[:] = block
        squares = np.einsum("ij,ij->i", floats, floats)
        unsafe = ~((squares > _SAFE[0]) & (squares < _SAFE[1]))
        if unsafe.any():
            scaled = _scaled(floats[unsafe], np.flatnonzero(unsafe) + first)
            floats = floats.copy() if floats is block else floats
            floats[unsafe] = scaled
            squares[unsafe] = np.einsum("ij,ij->i", scaled, scaled)
        self._floats = floats
        self._zero = squares == 0
        self._factors = 1 / np.sqrt(np.where(self._zero, 1, squares))

    def rough(self, part: slice) -> Floats:
        """Return scores of some queries and all rows of the block, shape (queries, rows)."""
        rough: Floats = self._units[part] @ self._floats.T
        rough *= self._factors
        rough[:, self._zero] = -np.inf
        rough[self._squares[part] == 0] = -np.inf
        return rough

    def exact(self, _rough: Floats, part: slice, which: Array, where: Array) -> Array:
        """Return the scores of pairs of a query and a row; sums do not depend on the block."""
        scores = np.empty(len(which))
        queries, squares = self._queries[part], self._squares[part]
        for start in range(0, len(which), self._step):
            piece = slice(start, start + self._step)
            rows = self._block[where[piece]].astype(np.float64)
            lengths = squares[which[piece]] * np.square(rows).sum(axis=1)
            rows *= queries[which[piece]]
            products = rows.sum(axis=1)
            # One division of integers, exact up to 5,792 dimensions of int8: so rows of one
            # direction have the same score to the last bit.
            shares = np.square(products) / np.where(lengths == 0, 1, lengths)
            scores[piece] = np.copysign(np.sqrt(np.minimum(shares, 1)), products)
            scores[piece][lengths == 0] = -np.inf
        return scores

    def shown(self, scores: Array) -> Array:
        """Return scores as users see them."""
        return scores


class Hamming:
    """Numbers of differing bits, below zero so that more is better. float32 holds them exactly."""

    margin = 0.0

    def __init__(self, queries: Array) -> None:
        self._queries = _words(queries)
        self.row_bytes = 40 * self._queries.shape[1]

    def read(self, block: Array, _first: int) -> None:
        """Take a block of rows; words of all rows lie side by side, to be added in long runs."""
        self._words = np.ascontiguousarray(_words(block).T)

    def rough(self, part: slice) -> Floats:
        """Return scores of some queries and all rows of the block, shape (queries, rows)."""
        queries = self._queries[part]
        rough = np.empty((len(queries), self._words.shape[1]), np.float32)
        differing = np.empty_like(self._words)
        for scores, query in zip(rough, queries, strict=True):
            np.bitwise_xor(self._words, query[:, None], out=differing)
            scores[:] = _bit_counts(differing).sum(axis=0, dtype=np.uint32)
        return np.negative(rough, out=rough)

    def exact(self, rough: Floats, _part: slice, which: Array, where: Array) -> Array:
        """Return the scores of pairs of a query and a row."""
        return rough[which, where].astype(np.float64)

    def shown(self, scores: Array) -> Array:
        """Return scores as users see them."""
        return (-scores).astype(np.int64)


def check_finite(rows: Array, noun: str, numbers: Array | None = None) -> Array:
    """Return rows, or raise with the number of the first that has values which are not finite."""
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        number = first if numbers is None else numbers[first]
        raise InputError(f"{noun} {number} has values that are not finite.")
    return rows


def _scaled(rows: Floats, numbers: Array) -> Floats:
    """Return rows with a largest value of 1, zero rows as they are; or raise if not finite."""
    peaks = np.abs(check_finite(rows, "row", numbers)).max(axis=1, initial=0, keepdims=True)
    peaks[peaks == 0] = 1
    scaled: Floats = rows / peaks
    return scaled


def _words(packed: Array) -> NDArray[np.uint64]:
    """Return packed bits as words of 64, shape (rows, words), padded with zero bits."""
    count, width = packed.shape
    padded = np.zeros((count, -(-width // 8) * 8), np.uint8)
    padded[:, :width] = packed
    return padded.view(np.uint64)


def _bit_counts(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return how many bits of each word are set; numpy below 2 counts by a table of bytes."""
    counts: NDArray[np.uint8]
    if hasattr(np, "bitwise_count"):
        counts = np.bitwise_count(words)
    else:
        octets = _ONES[words.view(np.uint8)].reshape(*words.shape, 8)
        counts = octets.sum(axis=-1, dtype=np.uint8)
    return counts
