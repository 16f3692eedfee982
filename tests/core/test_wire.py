"""Codes as the bytes of the wire, and back."""

import base64

import numpy as np
import pytest

from ctxembed.wire import pack_codes, row_bytes, unpack_codes

CODES = np.array([[1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 1], [-1] * 11], np.int8)


def test_bits_have_the_least_significant_first():
    packed = pack_codes(CODES[:1], "base64_binary")

    assert base64.b64encode(packed[0]) == b"AQY="
    assert packed.tolist() == [[0b00000001, 0b00000110]]


def test_int8_codes_are_their_own_bytes():
    assert pack_codes(np.array([[-128, -1, 0, 127]], np.int8), "base64_int8").tolist() == [
        [128, 255, 0, 127]
    ]


@pytest.mark.parametrize("wire_format", ["base64_int8", "base64_binary"])
def test_unpacking_undoes_packing(wire_format):
    wide = np.tile(CODES, 2)[:, :11]
    packed = pack_codes(wide, wire_format)
    unpacked = unpack_codes(packed, wire_format, 11)

    assert packed.shape == (2, row_bytes(wire_format, 11))
    assert unpacked.dtype == np.int8
    np.testing.assert_array_equal(unpacked, CODES)
