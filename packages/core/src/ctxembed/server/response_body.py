"""Rows of the model as the bodies that the API documents. Pure functions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

import numpy as np
from pydantic_core import to_json

from ctxembed.encoding import Array, Encoding
from ctxembed.wire import WireFormat

ENCODINGS: dict[WireFormat, Encoding] = {
    "base64_int8": "int8",
    "base64_binary": "binary",
    "float": "float",
}
"""What the rows of each wire format are made from."""


def reply_body(
    rows: Sequence[Array],
    *,
    model: str,
    wire_format: WireFormat,
    tokens: int,
    nested: bool,
) -> bytes:
    """Return the JSON for rows a document; with `nested` the documents show, else each is one text."""
    documents = [_embeddings(array, wire_format) for array in rows]
    if nested:
        data: list[dict[str, object]] = [
            {"object": "list", "index": index, "data": _numbered(embeddings)}
            for index, embeddings in enumerate(documents)
        ]
    else:
        data = _numbered([embedding for (embedding,) in documents])
    return to_json(
        {
            "object": "list",
            "data": data,
            "model": model,
            "usage": {
                "prompt_tokens": tokens,
                "total_tokens": tokens,
                "cost": {"input_cost": 0.0, "total_cost": 0.0, "currency": "USD"},
            },
        }
    )


def _numbered(embeddings: Sequence[object]) -> list[dict[str, object]]:
    return [
        {"object": "embedding", "index": index, "embedding": embedding}
        for index, embedding in enumerate(embeddings)
    ]


def _embeddings(rows: Array, wire_format: WireFormat) -> Sequence[object]:
    if wire_format == "float":
        floats: list[list[float]] = rows.tolist()
        return floats
    if wire_format == "base64_binary":
        # the wire has the least significant bit first, unlike everything else here
        rows = np.packbits(rows > 0, axis=-1, bitorder="little")
    return [b64encode(row).decode("ascii") for row in rows]
