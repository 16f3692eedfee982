"""How a vector is stored: int8, binary, ubinary and float, their inverses, truncation, length.

This module is the definition, in numpy; a copy on a device is tested to give the same. Which rows
are merged and mixed is decided in `assembly`; base64 is left to the API client and the server.

Order of operations: mix, truncate, quantise, normalise.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ctxembed.models import Quantizer

Encoding = Literal["int8", "binary", "ubinary", "float"]
Form = Literal["pooled", "int8", "binary"]
"""What a backend gives: float32 before the quantiser, its int8 codes, or int8 +1 and -1."""

StoredForm = Literal["codes", "bits", "floats"]
"""What is kept of a row: int8 codes, packed bits, or float32 where no quantiser follows."""

Array = NDArray[Any]
Floats = NDArray[np.float32]


def quantize_tanh(pooled: Floats) -> NDArray[np.int8]:
    """Return `clip(rint(tanh(x) * 127), -128, 127)`, halves to even: pplx-embed's own codes.

    `pooled` is the mean before any normalisation: a unit row would leave codes of about +-4.
    """
    codes: NDArray[np.int8] = np.clip(np.rint(np.tanh(pooled) * 127), -128, 127).astype(np.int8)
    return codes


def quantize_scale(pooled: Floats) -> NDArray[np.int8]:
    """Return `rint(127 x / max|x|)` for each row, which keeps the cosine; a zero row stays zero."""
    peak = np.abs(pooled).max(axis=-1, keepdims=True)
    return np.rint(pooled / np.where(peak == 0, 1, peak) * 127).astype(np.int8)


def to_binary(rows: Array) -> NDArray[np.int8]:
    """Return +1 where x >= 0, else -1. Never give it int8 codes: a small negative x has code 0."""
    return np.where(rows >= 0, np.int8(1), np.int8(-1))


def pack_bits(rows: Array) -> NDArray[np.uint8]:
    """Return one bit per dimension, x >= 0, most significant bit first, padded with zero bits."""
    return np.packbits(rows >= 0, axis=-1)


def unpack_bits(packed: NDArray[np.uint8], dimensions: int) -> NDArray[np.int8]:
    """Return +1 and -1 from packed bits: the inverse of `pack_bits` up to the sign."""
    bits = np.unpackbits(packed, axis=-1, count=dimensions)
    return np.where(bits == 1, np.int8(1), np.int8(-1))


def normalize(rows: Array) -> Floats:
    """Return float32 rows of length 1; a zero row stays zero."""
    floats = rows.astype(np.float32)
    length = np.linalg.norm(floats, axis=-1, keepdims=True)
    scaled: Floats = (floats / np.where(length == 0, 1, length)).astype(np.float32, copy=False)
    return scaled


def mix(
    contextual: Floats, independent: Floats, neighbours: Floats, *, context_weight: float
) -> Floats:
    """Return `w * unit(contextual) + (1 - w) * unit(independent) + neighbours` in another length.

    The length is the weighted mean of the lengths of the first two, so that a quantiser that
    depends on the length sees the range it was made for. `neighbours` is what
    `neighbour_directions` gives, times its weight. The result and all arrays have the shape
    (chunks, dimensions).
    """
    weight = context_weight
    size = weight * np.linalg.norm(contextual, axis=-1, keepdims=True)
    size += (1 - weight) * np.linalg.norm(independent, axis=-1, keepdims=True)
    direction = weight * normalize(contextual) + (1 - weight) * normalize(independent) + neighbours
    mixed: Floats = (normalize(direction) * size).astype(np.float32)
    return mixed


def neighbour_directions(independent: Floats) -> Floats:
    """Return the unit mean of the directions of the rows before and behind each row.

    Rows are the chunks of one document in order, shape (chunks, dimensions). The first and the last
    have one neighbour; a row alone has none and gets zeros.
    """
    units = normalize(independent)
    around = np.zeros_like(units)
    around[1:] += units[:-1]
    around[:-1] += units[1:]
    return normalize(around)


def local_forms(quantizer: Quantizer) -> frozenset[Form]:
    """Return the forms that local weights can give: codes where the quantiser is the model's."""
    return frozenset(("pooled", "int8", "binary") if quantizer == "tanh" else ("pooled",))


def form_for(
    encoding: Encoding, quantizer: Quantizer, *, mixed: bool, forms: frozenset[Form]
) -> Form | None:
    """Return what to ask of a backend, None where it cannot give what the encoding needs.

    Codes are asked for where nothing more is done with a row, so that only codes leave a device.
    """
    native: Form = "int8" if encoding in ("int8", "float") else "binary"
    if not mixed and quantizer == "tanh" and native in forms:
        return native
    return "pooled" if "pooled" in forms else None


def stored_form(encoding: Encoding, quantizer: Quantizer) -> StoredForm:
    """Return what rows of an encoding are made from: equal forms can stand in for each other."""
    if encoding in ("binary", "ubinary"):
        return "bits"
    return "codes" if encoding == "int8" or quantizer == "tanh" else "floats"


def quantize(
    rows: Array, form: Form, stored: StoredForm, *, quantizer: Quantizer, dimensions: int
) -> Array:
    """Return a backend's rows, truncated to `dimensions` and quantised.

    `rows` has shape (chunks, width) in `form`. The result is int8 (chunks, dimensions) for codes,
    uint8 (chunks, ceil(dimensions / 8)) for bits, float32 (chunks, dimensions) for floats.
    """
    rows = rows[:, :dimensions]
    if stored == "bits":
        return pack_bits(rows)
    if stored == "codes" and form == "pooled":
        rows = quantize_tanh(rows) if quantizer == "tanh" else quantize_scale(rows)
    return np.ascontiguousarray(rows)


def dequantize(rows: Array, *, encoding: Encoding, dimensions: int, unit: bool = False) -> Array:
    """Return what `quantize` gave in an encoding, with `unit` as float32 rows of length 1.

    The result has shape (chunks, dimensions), or (chunks, ceil(dimensions / 8)) for ubinary.
    """
    if encoding == "binary":
        return unpack_bits(rows, dimensions)
    if encoding == "float" and rows.dtype == np.int8:
        rows = rows.astype(np.float32) / np.float32(127)
    return normalize(rows) if unit else rows


def empty_row(encoding: Encoding, dimensions: int, *, unit: bool = False) -> Array:
    """Return the zero row that stands for a chunk without text, typed as its encoding is."""
    if encoding == "ubinary":
        return np.zeros(-(-dimensions // 8), np.uint8)
    kind = np.float32 if unit or encoding == "float" else np.int8
    return np.zeros(dimensions, kind)


_FLOATS = np.array([float(code) for code in range(-128, 128)], dtype=object)


def to_floats(rows: Array) -> list[list[float]]:
    """Return Python floats, for interfaces that ask for lists; int8 rows share 256 objects.

    >>> to_floats(np.array([[-1, 127]], np.int8))
    [[-1.0, 127.0]]
    """
    if rows.dtype == np.int8:
        shared: list[list[float]] = _FLOATS[rows.astype(np.int16) + 128].tolist()
        return shared
    floats: list[list[float]] = rows.astype(np.float64).tolist()
    return floats
