"""Exact search: equal to brute force, whatever the blocks, within its bound of memory."""

import tracemalloc
from fractions import Fraction
from math import sqrt

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from ctxembed import ConfigurationError, InputError, similarity
from ctxembed.encoding import pack_bits, to_binary
from ctxembed.search import nearest, two_stage

MIB = 2**20
ELEMENTS = {
    "int8": st.integers(-128, 127),
    "signs": st.sampled_from([-1, 1]),
    "few": st.integers(-1, 1),  # many ties, and zero rows
    "float32": st.floats(-4, 4, width=32).map(lambda x: round(x * 8) / 8),
}
KINDS = {"int8": np.int8, "signs": np.int8, "few": np.int8, "float32": np.float32}


@st.composite
def vectors(draw):
    """Queries, rows, and k; either may be any kind, but for packed bits."""
    dimensions = draw(st.integers(1, 20))
    kinds = [draw(st.sampled_from(sorted(KINDS))) for _ in range(2)]
    counts = draw(st.integers(0, 3)), draw(st.integers(0, 30))
    found = [
        draw(arrays(KINDS[kind], (count, dimensions), elements=ELEMENTS[kind]))
        for kind, count in zip(kinds, counts, strict=True)
    ]
    return *found, draw(st.integers(1, 35))


def exact_order(query, row):
    """Return the signed square of the cosine as an exact fraction; -inf without a direction."""
    query, row = ([Fraction(float(x)) for x in vector] for vector in (query, row))
    product = sum(x * y for x, y in zip(query, row, strict=True))
    lengths = sum(x * x for x in query) * sum(x * x for x in row)
    return product * abs(product) / lengths if lengths else -np.inf


def by_cosine(queries, rows, k):
    """Return what `nearest` must give, from exact fractions."""
    scores, indexes = [], []
    for query in queries:
        keys = [exact_order(query, row) for row in rows]
        order = sorted(range(len(rows)), key=lambda n, keys=keys: -keys[n])[
            :k
        ]  # sorting is stable
        indexes.append(order)
        scores.append([_root(keys[n]) for n in order])
    shape = len(queries), min(k, len(rows))
    return np.array(scores, float).reshape(shape), np.array(indexes, int).reshape(shape)


def _root(key):
    return key if key == -np.inf else sqrt(abs(key)) * (1 if key > 0 else -1)


def by_bits(queries, rows, k):
    counts = np.array([[(q != r).sum() for r in rows] for q in queries], int)
    counts = counts.reshape(len(queries), len(rows))
    order = np.argsort(counts, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(counts, order, axis=1), order


def cut(rows, sizes):
    """Yield rows in blocks of the sizes given, again and again."""
    start = number = 0
    while start < len(rows):
        size = sizes[number % len(sizes)]
        yield rows[start : start + size]
        start, number = start + size, number + 1


@given(vectors(), st.integers(1, 100_000), st.lists(st.integers(1, 9), min_size=1))
def test_cosines_and_order_are_those_of_brute_force_in_any_blocks(drawn, block_bytes, sizes):
    queries, rows, k = drawn
    scores, indexes = by_cosine(queries, rows, k)

    for each in (rows, cut(rows, sizes), [rows[:0], rows]):
        found = nearest(queries, each, k, block_bytes=block_bytes)
        assert np.array_equal(indexes, found.indexes)
        assert np.allclose(scores, found.scores, rtol=0, atol=1e-15)


@given(vectors(), st.integers(1, 100_000), st.lists(st.integers(1, 9), min_size=1))
def test_differing_bits_and_order_are_those_of_brute_force_in_any_blocks(drawn, size, sizes):
    queries, rows, k = (to_binary(drawn[0]), to_binary(drawn[1]), drawn[2])
    scores, indexes = by_bits(queries, rows, k)

    packed = pack_bits(rows)
    for each in (packed, cut(packed, sizes)):
        found = nearest(pack_bits(queries), each, k, block_bytes=size)
        assert np.array_equal(indexes, found.indexes)
        assert np.array_equal(scores, found.scores)


@given(vectors(), st.booleans())
def test_two_stages_with_all_rows_as_candidates_are_the_exact_ranking(drawn, stored):
    queries, rows, k = drawn
    bits = pack_bits(rows)
    codes = rows if stored else None
    found = two_stage(queries, bits, codes, k, candidates=max(k, len(rows), 1))
    expected = nearest(queries, rows if stored else to_binary(rows), k)

    assert np.array_equal(expected.indexes, found.indexes)
    assert np.array_equal(expected.scores, found.scores)


@pytest.mark.parametrize(("dimensions", "kind"), [(2560, "int8"), (7, "signs"), (1024, "float32")])
def test_large_values_and_many_rows_against_float64(dimensions, kind):
    """More than 64 queries, several blocks, rows that repeat, and products beyond 2**24."""
    random = np.random.default_rng(0)
    queries, rows = random.normal(size=(70, dimensions)), random.normal(size=(900, dimensions))
    rows[:100], rows[400:500] = queries[0], queries[1]
    if kind == "signs":
        queries, rows = to_binary(queries), to_binary(rows)
    elif kind == "int8":
        queries, rows = (np.clip(x * 90, -128, 127).astype(np.int8) for x in (queries, rows))
    else:
        queries, rows = queries.astype(np.float32), rows.astype(np.float32)
    products = queries.astype(float) @ rows.astype(float).T
    lengths = [np.linalg.norm(x.astype(float), axis=1) for x in (queries, rows)]
    cosines = (products / np.outer(*lengths)).round(13)  # sums differ in their last digits
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :110]

    found = nearest(queries, rows, 110, block_bytes=2 * MIB)
    assert np.array_equal(order, found.indexes)
    assert np.allclose(np.take_along_axis(cosines, order, axis=1), found.scores, atol=1e-12)


def test_last_unit_of_a_product_decides():
    """Products differ by 1 in 41 million, which float32 cannot tell; sums in float64 can."""
    query = np.full((1, 2560), 127, np.int8)
    rows = np.repeat(query, 3, axis=0)
    rows[0, 0], rows[1, 1], rows[2, 2] = 125, 126, 126

    assert nearest(query, rows, 3).indexes.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("scale", [1e-38, 1e-22, 1, 1e22, 1e38])
def test_length_of_floats_does_not_matter(scale):
    random = np.random.default_rng(1)
    rows = random.uniform(-1, 1, (40, 16)).astype(np.float32)
    scaled = (rows.astype(float) * np.where(np.arange(40) % 2, 1, scale)[:, None]).astype("f4")
    expected = nearest(rows[:3], rows, 5)
    for queries in (rows[:3], (rows[:3].astype(float) * scale).astype("f4")):
        found = nearest(queries, scaled, 5)
        assert np.array_equal(expected.indexes, found.indexes)
        assert np.allclose(expected.scores, found.scores, atol=1e-5)


def test_rows_of_one_direction_tie_exactly():
    query = np.array([[3, 5, 7]], np.int8)
    rows = np.array([[1, 2, 4]], np.int8) * np.arange(1, 31, dtype=np.int8)[:, None]

    assert nearest(query, rows, 30).indexes.tolist() == [[*range(30)]]


@pytest.mark.parametrize("kind", [np.int8, np.float32])
def test_zero_rows_come_last_and_zero_queries_score_nothing(kind):
    rows = np.array([[0, 0], [-1, 0], [0, 0], [1, 0]], kind)
    found = nearest(np.array([[1, 0], [0, 0]], kind), rows, 4)

    assert found.indexes.tolist() == [[3, 1, 0, 2], [0, 1, 2, 3]]
    assert found.scores.tolist() == [[1, -1, -np.inf, -np.inf], [-np.inf] * 4]


def test_measures_agree_on_packed_and_unpacked_signs():
    random = np.random.default_rng(0)
    rows, queries = to_binary(random.normal(size=(50, 20))), to_binary(random.normal(size=(2, 20)))
    bits = nearest(pack_bits(queries), pack_bits(rows), 50)
    signs = nearest(queries, rows, 50)

    assert np.array_equal(bits.indexes, signs.indexes)
    assert np.allclose(bits.scores, (1 - signs.scores) * 10)


def test_bits_are_counted_without_numpy_2(monkeypatch):
    words = np.random.default_rng(2).integers(0, 2**64, (3, 5), np.uint64, endpoint=False)
    expected = [[int(word).bit_count() for word in row] for row in words]

    assert similarity._bit_counts(words).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert similarity._bit_counts(words).tolist() == expected


def test_candidates_are_chosen_by_bits_and_ranked_by_codes():
    """Row 0 is nearest by cosine, and not among the two nearest by bits."""
    query = np.array([[100, 1, 1, 1, 1, 1, 1, 1]], np.int8)
    rows = query * np.array([[1] + [-1] * 7, [1, 1, 1, 1, 1, 1, -1, -1], [1] * 8], np.int8)
    rows[1:, 0] = [5, 9]

    assert nearest(query, rows, 2).indexes.tolist() == [[0, 2]]
    assert two_stage(query, pack_bits(rows), rows, 2, candidates=2).indexes.tolist() == [[2, 1]]
    signs = -np.ones((1, 8), np.int8)
    found = two_stage(query, pack_bits(rows), rows, 1, 1, query_bits=pack_bits(signs))
    assert found.indexes.tolist() == [[0]]


def test_without_codes_the_query_keeps_its_values():
    """Both rows differ in one bit; it weighs less where the query's value is small."""
    query = np.array([[9.0, 0.1, 5, 5]], np.float32)
    rows = np.array([[-1, 1, 1, 1], [1, -1, 1, 1]], np.int8)

    assert nearest(pack_bits(query), pack_bits(rows), 2).indexes.tolist() == [[0, 1]]
    assert two_stage(query, pack_bits(rows), None, 2).indexes.tolist() == [[1, 0]]


@pytest.mark.parametrize("kind", ["int8", "float32", "uint8", "equal"])
@pytest.mark.parametrize("queries", [1, 64, 100])
def test_memory_is_bounded_by_block_bytes(tmp_path, kind, queries):
    """8 MiB of rows on disk (2 of equal ones, all of which tie), through at most 1 MiB."""
    path, dimensions = tmp_path / "rows", 256
    dtype = np.dtype(np.int8 if kind == "equal" else kind)
    size = 2 * MIB if kind == "equal" else 8 * MIB
    shape = (size // dimensions // dtype.itemsize, dimensions)
    random = np.random.default_rng(3)
    rows = np.memmap(path, dtype, "w+", shape=shape)
    rows[:] = 1 if kind == "equal" else random.integers(0, 100, shape, np.uint8)
    rows[:100] = 0
    asked = random.integers(0, 100, (queries, dimensions), np.uint8).astype(dtype)
    rows = np.memmap(path, dtype, "r", shape=shape)
    tracemalloc.start()
    try:
        nearest(asked, rows, 10, block_bytes=MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    beside = 3 * queries * dimensions * 8 + queries * 10 * 100
    assert peak < MIB + beside


@pytest.mark.parametrize("k", [10, 1000])
@pytest.mark.parametrize("kind", [np.int8, np.float32])
def test_equal_rows_are_scored_once_for_each_query(monkeypatch, kind, k):
    """A text that stands in a file thousands of times costs no more than one that does not."""
    random = np.random.default_rng(4)
    queries = random.integers(-90, 90, (70, 16)).astype(kind)
    rows = np.repeat(random.integers(-90, 90, (2, 16)).astype(kind), 3000, axis=0)
    scored, exact = [], similarity.Cosine.exact

    def counted(self, rough, part, which, where):
        scored.append(len(which))
        return exact(self, rough, part, which, where)

    monkeypatch.setattr(similarity.Cosine, "exact", counted)
    found = nearest(queries, rows, k, block_bytes=2 * MIB)

    assert sum(scored) < 70 * 6000 / 20
    first = np.where(found.indexes[:, :1] < 3000, 0, 3000)
    assert np.array_equal(found.indexes, first + np.arange(k))


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_hits_are_sorted_few_times_however_many_are_asked_for(monkeypatch, kind):
    """In 48 blocks, with more hits than a block has rows."""
    random = np.random.default_rng(5)
    rows, queries = (random.integers(0, 90, (count, 64)).astype(kind) for count in (5000, 8))
    expected = nearest(queries, rows, 1000)
    sizes, lexsort = [], np.lexsort

    def counted(keys):
        sizes.append(len(keys[0]))
        return lexsort(keys)

    monkeypatch.setattr(np, "lexsort", counted)
    found = nearest(queries, (rows[start : start + 105] for start in range(0, 5000, 105)), 1000)

    assert np.array_equal(expected.indexes, found.indexes)
    assert sum(sizes) < 8 * (5000 + 10 * 1000)


@pytest.mark.parametrize("k", [1000, 9000])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_memory_of_many_hits_is_bounded_too(kind, k):
    random = np.random.default_rng(6)
    rows = random.integers(0, 90, (10_000, 64)).astype(kind)
    queries = random.integers(0, 90, (64, 64)).astype(kind)
    tracemalloc.start()
    try:
        nearest(queries, rows, k, block_bytes=2 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2 * MIB + 2 * queries.size * 8 + 200 * 64 * k


@pytest.mark.parametrize("kind", [np.int8, np.float32, np.uint8])
def test_rows_without_dimensions_are_all_alike(kind):
    found = nearest(np.empty((70, 0), kind), np.empty((9, 0), kind), 3)

    assert found.indexes.tolist() == [[0, 1, 2]] * 70


FLOATS, CODES, BITS = (np.ones((2, 8), kind) for kind in (np.float32, np.int8, np.uint8))
NAN = np.array([[1] * 8, [np.nan] * 8], np.float32)


@pytest.mark.parametrize(
    ("queries", "rows", "message"),
    [
        (FLOATS[0], FLOATS, "queries have shape (8,): expected two dimensions"),
        ([[1.0]], FLOATS, "queries must be a numpy array of two dimensions, not list"),
        (FLOATS.astype(float), FLOATS, "queries are float64: expected int8, float32, or packed"),
        (FLOATS, CODES.astype(int), "rows are int64: expected int8, float32, or packed"),
        (FLOATS, [[1.0]], "rows must be a numpy array of two dimensions, not list"),
        (FLOATS, None, "rows must be a numpy array, or an iterable of them, not NoneType"),
        (FLOATS, BITS, "queries are float32 and rows uint8: packed bits (uint8) can be compared"),
        (BITS, CODES, "queries are uint8 and rows int8: packed bits (uint8) can be compared"),
        (FLOATS, [FLOATS, FLOATS[:, 1:]], "queries have 8 columns and rows 7"),
        (NAN, FLOATS, "query 1 has values that are not finite"),
        (FLOATS, [FLOATS, NAN], "row 3 has values that are not finite"),
        (FLOATS, -NAN * np.float32(np.inf), "row 0 has values that are not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_what_was_expected(queries, rows, message):
    with pytest.raises(InputError) as caught:
        nearest(queries, rows, 1)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "more", "message"),
    [
        ((BITS, BITS, CODES), {}, "queries are packed bits"),
        ((CODES, CODES, CODES), {}, "bits are int8 of 8 columns: expected uint8 of 1"),
        ((CODES, BITS, CODES), {}, "bits are uint8 of 8 columns: expected uint8 of 1"),
        ((CODES, BITS[:, :1], CODES[1:]), {}, "expected int8 or float32 of shape (2, 8)"),
        ((CODES, BITS[:, :1], BITS), {}, "codes are uint8 of shape (2, 8)"),
        (
            (CODES, BITS[:, :1], None),
            {"query_bits": BITS[:1, :1]},
            "there are 1 query_bits and 2 queries",
        ),
        ((CODES, BITS[:, :1], None), {"query_bits": CODES}, "query_bits are int8 of 8 columns"),
        ((CODES, BITS[:, :1], None), {"query_bits": BITS}, "query_bits are uint8 of 8 columns"),
        ((CODES, BITS[:, :1], None), {"query_bits": [[1]]}, "query_bits must be a numpy array"),
        ((NAN, BITS[:, :1], None), {}, "query 1 has values that are not finite"),
    ],
)
def test_stages_that_do_not_fit_are_refused(arrays, more, message):
    with pytest.raises(InputError) as caught:
        two_stage(*arrays, 1, **more)
    assert message in str(caught.value)


def test_a_candidate_that_is_not_finite_is_named_by_its_row():
    rows = np.ones((9, 8), np.float32)
    rows[:6, 0], rows[7, 3] = -1, np.nan

    with pytest.raises(InputError, match="row 7 has values that are not finite"):
        two_stage(FLOATS, pack_bits(np.nan_to_num(rows)), rows, 1, candidates=3)


@pytest.mark.parametrize("number", [2.0, 2.5, True, "3", None, float("nan"), [2]])
@pytest.mark.parametrize("name", ["k", "candidates", "block_bytes"])
def test_what_is_no_whole_number_is_refused(name, number):
    told = {"k": 1, name: number}

    with pytest.raises(ConfigurationError, match=f"{name} is .*: it must be at least 1"):
        two_stage(CODES, BITS[:, :1], CODES, **told)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ConfigurationError, match="k is 0: it must be at least 1"):
        nearest(CODES, CODES, 0)
    with pytest.raises(ConfigurationError, match="block_bytes is 0"):
        nearest(CODES, CODES, 1, block_bytes=0)
    with pytest.raises(ConfigurationError, match="candidates is 5: at least k, 6, are needed"):
        two_stage(CODES, BITS[:, :1], CODES, 6, candidates=5)
