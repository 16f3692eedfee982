"""How a vector is stored: worked examples, and what holds for every vector."""

import hypothesis.strategies as st
import numpy as np
import pytest
from encoded import encode
from hypothesis import assume, given
from hypothesis.extra.numpy import arrays

from ctxembed.encoding import (
    empty_row,
    form_for,
    mix,
    normalize,
    pack_bits,
    quantize_scale,
    quantize_tanh,
    to_binary,
    to_floats,
    unpack_bits,
)

VALUES = st.floats(-4, 4, width=32)
ROWS = st.tuples(st.integers(1, 4), st.integers(1, 40)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=VALUES)
)
ALL = frozenset({"pooled", "int8", "binary"})


def test_tanh_codes_by_hand():
    """tanh(0.5) * 127 = 58.69, tanh(-0.1) * 127 = -12.66, and the ends stay within 127."""
    assert quantize_tanh(np.array([[0.5, -0.1, 0, 9, -9]], np.float32)).tolist() == [
        [59, -13, 0, 127, -127]
    ]


def test_halves_go_to_the_even_code():
    """The model's own rounding: 0.5 becomes 0, 1.5 becomes 2."""
    x = np.arctanh(np.array([[0.5, 1.5, 2.5]]) / 127)

    assert quantize_tanh(x).tolist() == [[0, 2, 2]]


@given(ROWS)
def test_scale_keeps_the_cosine(rows):
    """The largest value has code 127; the direction moves by rounding only; zero stays zero."""
    codes = quantize_scale(rows)

    for row, code in zip(rows, codes, strict=True):
        peak = np.abs(row).max()
        expected = np.zeros_like(row) if peak == 0 else row / peak * 127
        assert np.abs(code - expected).max() <= 0.501
        assert np.abs(code.astype(int)).max() == (0 if peak == 0 else 127)


@given(ROWS)
def test_bits_round_trip_most_significant_first(rows):
    """Packed bits are numpy's, and unpack to the signs."""
    packed = pack_bits(rows)

    assert np.array_equal(packed, np.packbits(rows >= 0, axis=-1))
    assert np.array_equal(unpack_bits(packed, rows.shape[1]), to_binary(rows))


def test_bits_by_hand():
    """The first dimension is the highest bit; what is missing to a byte is zero bits."""
    assert pack_bits(np.array([[1, -1, -1, -1, -1, -1, -1, 0, 0.0]])).tolist() == [[0x81, 0x80]]
    assert to_binary(np.array([[0.0, -0.0, -1e-9]])).tolist() == [[1, 1, -1]]


@given(ROWS)
def test_normalized_rows_have_length_one(rows):
    """Length 1 but for a zero row, which stays zero."""
    lengths = np.linalg.norm(normalize(rows), axis=1)
    zero = np.linalg.norm(rows.astype(np.float64), axis=1) < 1e-18

    assert np.allclose(lengths[~zero], 1, atol=1e-5)


@given(ROWS, st.floats(0, 1))
def test_mix_has_the_stated_direction_and_length(rows, weight):
    """The direction is the mean of the unit vectors, the length the mean of the lengths."""
    one, two = rows + 3, np.roll(rows, 1, axis=1) * 2 + 9
    mixed = mix(one, two, np.zeros_like(one), context_weight=weight)
    direction = weight * normalize(one) + (1 - weight) * normalize(two)
    assume(np.linalg.norm(direction, axis=1).min() > 1e-3)  # opposite ones have no mean direction
    lengths = np.linalg.norm(one, axis=1) * weight + np.linalg.norm(two, axis=1) * (1 - weight)

    assert np.allclose(normalize(mixed), normalize(direction), atol=1e-5)
    assert np.allclose(np.linalg.norm(mixed, axis=1), lengths, rtol=1e-4)


@given(ROWS, st.integers(1, 40), st.sampled_from(["int8", "float", "binary", "ubinary"]))
def test_codes_that_come_from_a_device_encode_like_pooled_vectors(rows, dimensions, encoding):
    """Whether the backend or this module quantises makes no difference, truncated or not."""
    form = form_for(encoding, "tanh", mixed=False, forms=ALL)
    native = {"int8": quantize_tanh, "binary": to_binary}[form](rows)
    options = {"encoding": encoding, "quantizer": "tanh", "dimensions": dimensions}

    assert np.array_equal(encode(native, form, **options), encode(rows, "pooled", **options))


@given(ROWS, st.integers(1, 40), st.booleans(), st.sampled_from(["tanh", "scale"]))
def test_shapes_and_types(rows, dimensions, unit, quantizer):
    """int8 and float keep the first k; unit rows are float32 of length 1."""
    keep = min(dimensions, rows.shape[1])
    for encoding in ("int8", "float"):
        found = encode(
            rows,
            "pooled",
            encoding=encoding,
            quantizer=quantizer,
            dimensions=dimensions,
            unit=unit,
        )
        assert found.shape == (len(rows), keep)
        assert found.dtype == (np.float32 if unit or encoding == "float" else np.int8)
        assert found.flags["C_CONTIGUOUS"]
        if unit:
            lengths = np.linalg.norm(found, axis=1)
            assert np.all((np.abs(lengths - 1) < 1e-5) | (lengths == 0))


def test_scale_truncates_before_it_quantises():
    """A large value that is cut off doesn't squeeze the codes of the others."""
    rows = np.array([[1.0, 0.5, 100.0]], np.float32)
    found = encode(rows, "pooled", encoding="int8", quantizer="scale", dimensions=2)

    assert found.tolist() == [[127, 64]]


def test_float_is_the_code_over_127_where_the_model_has_codes():
    """Local vectors and those of the API agree."""
    rows = np.array([[0.5, -0.1]], np.float32)
    options = {"encoding": "float", "quantizer": "tanh", "dimensions": 2}

    assert np.allclose(encode(rows, "pooled", **options), [[59 / 127, -13 / 127]])


@pytest.mark.parametrize(
    ("encoding", "quantizer", "mixed", "forms", "expected"),
    [
        ("int8", "tanh", False, ALL, "int8"),
        ("float", "tanh", False, ALL, "int8"),
        ("binary", "tanh", False, ALL, "binary"),
        ("ubinary", "tanh", False, ALL, "binary"),
        ("int8", "tanh", True, ALL, "pooled"),
        ("int8", "scale", False, ALL, "pooled"),
        ("ubinary", "scale", False, ALL, "pooled"),
        ("binary", "tanh", False, frozenset({"pooled"}), "pooled"),
        ("binary", "tanh", False, frozenset({"int8"}), None),
        ("int8", "tanh", True, frozenset({"int8", "binary"}), None),
    ],
)
def test_form_asked_of_a_backend(encoding, quantizer, mixed, forms, expected):
    """Codes where nothing more is to be done with a row; bits never from int8 codes."""
    assert form_for(encoding, quantizer, mixed=mixed, forms=forms) == expected


@pytest.mark.parametrize("encoding", ["int8", "binary", "ubinary", "float"])
def test_empty_row_has_the_type_of_the_others(encoding):
    """A zero row can stand among encoded ones."""
    rows = np.ones((1, 20), np.float32)
    row = encode(rows, "pooled", encoding=encoding, quantizer="tanh", dimensions=11)[0]
    zero = empty_row(encoding, 11)

    assert (zero.shape, zero.dtype) == (row.shape, row.dtype)
    assert not zero.any()


@given(arrays(np.int8, (3, 9)))
def test_int8_floats_by_table(rows):
    """Python floats equal to the codes."""
    found = to_floats(rows)

    assert found == rows.astype(float).tolist()
    assert all(type(value) is float for row in found for value in row)


def test_float32_to_floats():
    """Other rows become Python floats too, at their exact value."""
    assert to_floats(np.array([[0.1]], np.float32)) == [[float(np.float32(0.1))]]
    assert to_floats(np.array([[255]], np.uint8)) == [[255.0]]
