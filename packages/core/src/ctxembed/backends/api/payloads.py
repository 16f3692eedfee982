"""The wire format of the embeddings API: bodies to send, and rows from bodies. Pure functions.

Contextual models take documents, each a list of chunks, at `/v1/contextualizedembeddings`; the others
take texts at `/v1/embeddings`. Vectors come as base64 of int8 codes, or of bits with the **least**
significant bit first. Source: the API reference and the public client library.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np

from ctxembed.encoding import Array, Form
from ctxembed.errors import ResponseError
from ctxembed.wire import PackedFormat, row_bytes, unpack_codes

WIRE_FORMATS: dict[Form, PackedFormat] = {"int8": "base64_int8", "binary": "base64_binary"}


@dataclass(frozen=True, slots=True)
class Reply:
    """Rows a document, and what the server says it used."""

    rows: list[Array]
    tokens: int | None
    cost: float | None


class _Row(msgspec.Struct, gc=False):
    index: int
    embedding: bytes


class _Document(msgspec.Struct, gc=False):
    index: int
    data: list[_Row]


class _Contextual(msgspec.Struct):
    data: list[_Document]
    usage: Any = None


class _Independent(msgspec.Struct):
    data: list[_Row]
    usage: Any = None


T = TypeVar("T", _Row, _Document)

_AROUND_ROWS = 2**16
_AROUND_A_ROW = 512
"""Bytes of an answer besides the vectors, far beyond what they are."""

_CONTEXTUAL = msgspec.json.Decoder(_Contextual)
_INDEPENDENT = msgspec.json.Decoder(_Independent)


def request_body(
    documents: Sequence[Sequence[str]],
    *,
    model: str,
    contextual: bool,
    form: Form,
    dimensions: int | None,
) -> bytes:
    """Return the JSON to post; without `contextual` every document is one text."""
    body: dict[str, object] = {
        "model": model,
        "input": documents if contextual else [text for (text,) in documents],
        "encoding_format": WIRE_FORMATS[form],
    }
    if dimensions is not None:
        body["dimensions"] = dimensions
    return msgspec.json.encode(body)


def most_bytes(rows: int, *, form: Form, dimensions: int) -> int:
    """Return the size beyond which no answer of so many rows is one: 4 times what they need.

    >>> most_bytes(1, form="int8", dimensions=1024)
    73056
    """
    row = 4 * -(-row_bytes(WIRE_FORMATS[form], dimensions) // 3)
    return _AROUND_ROWS + 4 * rows * (row + _AROUND_A_ROW)


def parse_reply(
    content: bytes, chunks: Sequence[int], *, contextual: bool, form: Form, dimensions: int
) -> Reply:
    """Return one (chunks, dimensions) array a document, ordered by the indexes at both levels.

    `chunks` has the number of chunks of each document sent.

    Raises:
        ResponseError: says what came back, where that isn't exactly one row a chunk.
    """
    try:
        if contextual:
            body = _CONTEXTUAL.decode(content)
            documents = [d.data for d in _ordered(body.data, len(chunks), "documents")]
            usage = body.usage
        else:
            flat = _INDEPENDENT.decode(content)
            documents = [[row] for row in _ordered(flat.data, len(chunks), "texts")]
            usage = flat.usage
            for row in flat.data:
                row.index = 0
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResponseError(f"the reply isn't what was asked for: {error}.") from None
    except RecursionError:
        raise ResponseError("the reply is nested too deeply to be one.") from None
    rows = [
        _decoded(_ordered(data, count, "chunks of a document"), form, dimensions)
        for data, count in zip(documents, chunks, strict=True)
    ]
    tokens = _figure(usage, "prompt_tokens")
    if tokens is None:
        tokens = _figure(usage, "total_tokens")
    cost = usage.get("cost") if isinstance(usage, dict) else None
    return Reply(rows, None if tokens is None else int(tokens), _figure(cost, "total_cost"))


def _figure(given: object, name: str) -> float | None:
    """Return a figure of the server's, None where it is no such thing: vectors are good without."""
    value = given.get(name) if isinstance(given, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return value


def _ordered(items: list[T], count: int, what: str) -> list[T]:
    """Return items by index, or raise unless the indexes are 0 to count - 1, each once."""
    items = sorted(items, key=lambda item: item.index)
    if [item.index for item in items] != list(range(count)):
        raise ResponseError(
            f"{count} {what} were sent; {len(items)} came back, or their indexes don't match."
        )
    return items


def _decoded(rows: Sequence[_Row], form: Form, dimensions: int) -> Array:
    size = row_bytes(WIRE_FORMATS[form], dimensions)
    for row in rows:
        if len(row.embedding) != size:
            raise ResponseError(
                f"a vector of {dimensions} dimensions has {size} bytes as {WIRE_FORMATS[form]}, "
                f"and {len(row.embedding)} came back. Hint: a server of your own may have a model of "
                "another width; pass that as dimensions."
            )
    joined = b"".join(row.embedding for row in rows)
    packed = np.frombuffer(joined, np.uint8).reshape(len(rows), size)
    return unpack_codes(packed, WIRE_FORMATS[form], dimensions)
