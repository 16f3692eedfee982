"""The rows nearest to each query, exactly: by cosine, or by Hamming distance for packed bits.

Every row is read once, in blocks of bounded memory; there is no index to build. How rows are made
is left to `encoding`, where they are stored to `files`, one block of them to `similarity`.

Cosines are found in two steps. The products of a block are taken in float32, which is fast. Their
error has a bound, so all rows that could be among the best are known. Those few are scored again in
float64, where products of int8 codes are exact, and that score decides. They are many where many
rows are alike; equal ones among them are scored once.
"""

from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ctxembed.encoding import Array, Floats, pack_bits, unpack_bits
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.similarity import Cosine, Hamming, check_finite

BLOCK_BYTES = 32 * 2**20

_QUERIES_AT_ONCE = 64
_PAIR_BYTES = 96
"""The most that a query and a row take together: a score, the mask, and the sorting of both."""

_CROWD = 4
"""Where candidates are so many times as many as hits or rows, equal rows are scored once."""


class Hits(NamedTuple):
    """The best rows of each query, both arrays of shape (queries, min(k, rows)), best first."""

    scores: Array
    """Cosines in float64; or the numbers of differing bits in int64, where less is better."""
    indexes: NDArray[np.intp]
    """Row numbers, counted from 0 through all blocks."""


def nearest(
    queries: Array, rows: Array | Iterable[Array], k: int, *, block_bytes: int = BLOCK_BYTES
) -> Hits:
    """Return the `k` rows nearest to each query, best first; of equal scores the lower row first.

    `queries` has shape (queries, dimensions). `rows` is an array of shape (rows, dimensions), which
    may be memory-mapped, or an iterable of such arrays, which is read once. Both are int8 or
    float32, in any mixture (+1 and -1 are int8), and are compared by the cosine; or both are packed
    bits (uint8, as `encoding="ubinary"` gives), and are compared by the number of differing bits.

    A zero vector has no direction, and here it stands for a chunk without text. Its cosine with
    anything is `-inf`: a zero row comes after all others, and a zero query scores every row so.
    Packed bits that are all zero are a vector as any other.

    At most `block_bytes` are held beside the arguments, two copies of the queries in float64, and
    200 bytes for each hit of the result; 64 queries and one row at a time are the least. A block of
    an iterable counts as an argument.

    Raises:
        InputError: a shape or type that cannot be compared, or values that are not finite.
        ConfigurationError: `k` or `block_bytes` is not a whole number from 1 up.
    """
    _check_positive(k=k, block_bytes=block_bytes)
    _check_array(queries, "queries")
    measure = Hamming(queries) if queries.dtype == np.uint8 else Cosine(queries, block_bytes // 4)
    parts = [
        slice(start, min(start + _QUERIES_AT_ONCE, len(queries)))
        for start in range(0, len(queries), _QUERIES_AT_ONCE)
    ]
    best = [_Best(part.stop - part.start, k) for part in parts]
    pair_bytes = _PAIR_BYTES * min(len(queries), _QUERIES_AT_ONCE)
    step = max(1, block_bytes // 2 // (measure.row_bytes + pair_bytes))
    seen = 0
    for block in _blocks(rows, queries, step):
        measure.read(block, seen)
        for part, found in zip(parts, best, strict=True):
            rough = measure.rough(part)
            which, where = found.candidates(rough, measure.margin)
            if block.size and len(which) > _CROWD * min(k * len(rough), len(block)):
                pairs = which * len(block) + _first_of_equal(block)[where]
                distinct, places = np.unique(pairs, return_inverse=True)
                scores = measure.exact(rough, part, *np.divmod(distinct, len(block)))[places]
            else:
                scores = measure.exact(rough, part, which, where)
            found.add(which, where + seen, scores)
        seen += len(block)
    shape = len(queries), min(k, seen)
    scores, indexes = np.empty(shape), np.empty(shape, np.intp)
    for part, found in zip(parts, best, strict=True):
        found.settle()
        scores[part], indexes[part] = found.scores, found.indexes
    return Hits(measure.shown(scores), indexes)


def two_stage(
    queries: Array,
    bits: NDArray[np.uint8],
    codes: Array | None,
    k: int,
    candidates: int = 100,
    *,
    query_bits: NDArray[np.uint8] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Hits:
    """Return the `k` best by cosine of each query's `candidates` nearest rows by Hamming distance.

    `queries` (int8 or float32) have shape (queries, dimensions). `bits` are the packed bits of all
    rows, shape (rows, ceil(dimensions / 8)). `codes` are the same rows as int8 or float32, shape
    (rows, dimensions), of which only the candidates are read, so they may be memory-mapped. Ties,
    zero vectors and the bound of memory are those of `nearest`. With as many candidates as rows,
    the result is that of `nearest(queries, codes, k)`.

    Without `codes` the bits themselves are scored, as +1 and -1, against the full queries: that
    costs no more storage, and ranks better than the distance of bits, as large values of the query
    count for more. The queries are never reduced to bits in this stage.

    The first stage compares `query_bits`, or the signs of the queries. Signs of int8 codes are no
    exact bits: a small negative value has code 0, which counts as positive. This can change which
    rows are candidates, and no score; `encoding="ubinary"` gives exact bits.

    Raises:
        InputError: a shape or type that does not fit, or values that are not finite.
        ConfigurationError: `k`, `candidates` or `block_bytes` is not a whole number from 1 up, or
            `candidates` is below `k`.
    """
    _check_positive(k=k, candidates=candidates, block_bytes=block_bytes)
    if candidates < k:
        raise ConfigurationError(f"candidates is {candidates}: at least k, {k}, are needed.")
    query_bits = _check_stages(queries, bits, codes, query_bits)
    chosen = np.sort(
        nearest(query_bits, bits, candidates, block_bytes=block_bytes).indexes, axis=1
    )
    dimensions = queries.shape[1]
    step = max(1, block_bytes // 8 // max(1, dimensions))
    shape = len(queries), min(k, len(bits))
    scores, indexes = np.empty(shape), np.empty(shape, np.intp)
    for number, numbers in enumerate(chosen):
        pieces = (numbers[start : start + step] for start in range(0, len(numbers), step))
        rows = (
            unpack_bits(bits[piece], dimensions)
            if codes is None
            else check_finite(codes[piece], "row", piece)
            for piece in pieces
        )
        found = nearest(queries[number : number + 1], rows, k, block_bytes=block_bytes)
        scores[number], indexes[number] = found.scores[0], numbers[found.indexes[0]]
    return Hits(scores, indexes)


class _Best:
    """The best hits so far of some queries. Rows come in the order of their numbers.

    `scores` and `indexes` are the hits at the last call of `settle`, shape (queries, hits). Those
    found since then wait, until they are as many: so each is sorted a few times, however large `k`.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.scores = np.empty((queries, 0))
        self.indexes = np.empty((queries, 0), np.intp)
        self._waiting: list[tuple[Array, Array, Array]] = []
        self._count = 0

    def candidates(self, rough: Floats, margin: float) -> tuple[Array, Array]:
        """Return pairs of (query, row of the block): all that may be hits, and few others.

        `rough` are scores of shape (queries, rows of the block), at most `margin` from the exact.
        """
        if self.scores.shape[1] < self.k:
            may = np.ones(rough.shape, np.bool_)
        else:  # a row must exceed the last hit: of equal ones the earlier stays
            may = rough > (self.scores[:, -1:] - margin).astype(np.float32)
        if rough.shape[1] > self.k and np.count_nonzero(may) > self.k * len(rough):
            last = np.partition(rough, -self.k, axis=1)[:, -self.k, None]
            may &= rough >= last - np.float32(2 * margin)
        which, where = np.nonzero(may)
        return which, where

    def add(self, which: Array, indexes: Array, scores: Array) -> None:
        """Take exact scores of pairs (query, row number)."""
        if self.scores.shape[1] == self.k:
            better = scores > self.scores[which, -1]
            which, indexes, scores = which[better], indexes[better], scores[better]
        self._waiting.append((which, indexes, scores))
        self._count += len(which)
        if self._count >= self.k * len(self.scores):
            self.settle()

    def settle(self) -> None:
        """Keep the best of each query, of those held and those that wait."""
        if not self._count:
            return
        queries, held = self.scores.shape
        first = np.repeat(np.arange(queries), held), self.indexes.ravel(), self.scores.ravel()
        which, indexes, scores = map(np.concatenate, zip(first, *self._waiting, strict=True))
        self._waiting, self._count = [], 0
        order = np.lexsort((indexes, -scores, which))
        counts = np.bincount(which, minlength=queries)
        kept = np.arange(min(self.k, counts.min()))
        taken = order[(np.cumsum(counts) - counts)[:, None] + kept]
        self.scores, self.indexes = scores[taken], indexes[taken]


def _first_of_equal(block: Array) -> NDArray[np.intp]:
    """Return for each row the number of the first row of the block that equals it."""
    rows = np.ascontiguousarray(block).view(np.dtype((np.void, block[0].nbytes)))[:, 0]
    _, first, places = np.unique(rows, return_index=True, return_inverse=True)
    return first[places]


def _blocks(rows: Array | Iterable[Array], queries: Array, step: int) -> Iterator[Array]:
    """Yield at most `step` rows at a time, checked to be comparable with the queries."""
    if not isinstance(rows, Iterable):
        raise InputError(
            f"rows must be a numpy array, or an iterable of them, not {type(rows).__name__}."
        )
    for array in [rows] if isinstance(rows, np.ndarray) else rows:
        _check_array(array, "rows")
        if (array.dtype == np.uint8) != (queries.dtype == np.uint8):
            raise InputError(
                f"queries are {queries.dtype} and rows {array.dtype}: packed bits (uint8) can be "
                "compared with packed bits only. Hint: two_stage takes int8 or float32 queries."
            )
        if array.shape[1] != queries.shape[1]:
            raise InputError(
                f"queries have {queries.shape[1]} columns and rows {array.shape[1]}: both must "
                "have the same dimensions and encoding."
            )
        plain = np.asarray(array)
        for start in range(0, len(plain), step):
            yield plain[start : start + step]


def _check_array(array: object, name: str) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"{name} must be a numpy array of two dimensions, not {type(array).__name__}."
        )
    if array.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise InputError(
            f"{name} have shape {array.shape}: expected two dimensions, one row per vector. "
            "Hint: vector[None] is an array of one row."
        )
    if array.dtype not in (np.int8, np.uint8, np.float32):
        raise InputError(
            f"{name} are {array.dtype}: expected int8, float32, or packed bits (uint8)."
        )


def _check_stages(
    queries: Array, bits: Array, codes: Array | None, query_bits: Array | None
) -> Array:
    """Return the bits of the queries, or raise where one of the arrays does not fit the others."""
    _check_array(queries, "queries")
    if queries.dtype == np.uint8:
        raise InputError(
            "queries are packed bits: expected int8 or float32, from which the candidates are "
            "scored. Hint: nearest compares packed bits."
        )
    _check_array(bits, "bits")
    width = -(-queries.shape[1] // 8)
    if bits.dtype != np.uint8 or bits.shape[1] != width:
        raise InputError(
            f"bits are {bits.dtype} of {bits.shape[1]} columns: expected uint8 of {width}, "
            f"which is {queries.shape[1]} dimensions, packed."
        )
    if codes is not None:
        _check_codes(codes, (len(bits), queries.shape[1]))
    check_finite(queries, "query")
    if query_bits is None:
        return pack_bits(queries)
    _check_array(query_bits, "query_bits")
    if len(query_bits) != len(queries):
        raise InputError(f"there are {len(query_bits)} query_bits and {len(queries)} queries.")
    if query_bits.dtype != np.uint8 or query_bits.shape[1] != width:
        raise InputError(
            f"query_bits are {query_bits.dtype} of {query_bits.shape[1]} columns: expected uint8 "
            f"of {width}, which is {queries.shape[1]} dimensions, packed."
        )
    return query_bits


def _check_codes(codes: Array, shape: tuple[int, int]) -> None:
    _check_array(codes, "codes")
    if codes.dtype == np.uint8 or codes.shape != shape:
        raise InputError(
            f"codes are {codes.dtype} of shape {codes.shape}: expected int8 or float32 of shape "
            f"{shape}, the rows of bits."
        )


def _check_positive(**values: int) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ConfigurationError(
                f"{name} is {value!r}: it must be at least 1, and a whole number."
            )
