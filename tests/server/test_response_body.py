"""Rows as the bodies that the API documents."""

import base64
import json

import numpy as np
import pytest

from ctxembed.server.response_body import response_body

CODES = np.arange(-128, 128).astype(np.int8).reshape(2, 128)


def body(rows, wire_format="base64_int8", *, nested=True):
    return json.loads(
        response_body(rows, model="m", wire_format=wire_format, tokens=7, nested=nested)
    )


def test_documents_and_chunks_are_numbered_on_both_levels():
    got = body([CODES, CODES[:1]])
    assert [document["index"] for document in got["data"]] == [0, 1]
    assert [[c["index"] for c in document["data"]] for document in got["data"]] == [[0, 1], [0]]
    assert got["object"] == "list"
    assert {document["object"] for document in got["data"]} == {"list"}
    assert got["data"][0]["data"][0]["object"] == "embedding"
    cost = {"input_cost": 0.0, "total_cost": 0.0, "currency": "USD"}
    assert got["usage"] == {"prompt_tokens": 7, "total_tokens": 7, "cost": cost}


def test_texts_are_a_flat_list():
    got = body([CODES[:1], CODES[1:]], nested=False)
    assert [(each["object"], each["index"]) for each in got["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]


def test_int8_codes_are_the_bytes_themselves():
    (document,) = body([CODES])["data"]
    for chunk, codes in zip(document["data"], CODES, strict=True):
        raw = base64.b64decode(chunk["embedding"], validate=True)
        np.testing.assert_array_equal(np.frombuffer(raw, np.int8), codes)


def test_bits_have_the_least_significant_first():
    row = np.array([[1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 1]], np.int8)
    (document,) = body([row], "base64_binary")["data"]
    raw = base64.b64decode(document["data"][0]["embedding"], validate=True)
    assert raw == bytes([0b00000001, 0b00000110])


def test_floats_are_numbers():
    rows = np.array([[0.5, -0.25]], np.float32)
    (document,) = body([rows], "float")["data"]
    assert document["data"][0]["embedding"] == [0.5, -0.25]


@pytest.mark.parametrize("wire_format", ["base64_int8", "base64_binary", "float"])
def test_rows_that_are_a_view_of_a_larger_array_come_out_whole(wire_format):
    wide = np.tile(CODES, 2)
    assert body([wide[:, :128]], wire_format) == body([CODES.copy()], wire_format)
