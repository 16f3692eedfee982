"""The wire format of the embeddings API: bodies to send, and rows from bodies. Pure functions.

Contextual models take documents, each a list of chunks, at `/v1/contextualizedembeddings`. The
others take texts at `/v1/embeddings`. Vectors come as base64 of int8 codes, or of bits with the
**least** significant bit first. Source: the API reference and the public client library. What the
server reports as used is read in `usage`.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from ctxembed.encoding import Array, Form
from ctxembed.errors import ResponseError
from ctxembed.wire import PackedFormat, row_bytes, unpack_codes

WIRE_FORMATS: dict[Form, PackedFormat] = {"int8": "base64_int8", "binary": "base64_binary"}


class _Row(msgspec.Struct, gc=False):
    index: int
    embedding: bytes


class _Document(msgspec.Struct, gc=False):
    index: int
    data: list[_Row]


T = TypeVar("T", _Row, _Document)


class _Reply(msgspec.Struct, Generic[T]):
    data: list[T]
    usage: Any = None


_AROUND_ROWS = 2**16
_AROUND_A_ROW = 512
"""Bytes of an answer besides the vectors; real answers have far fewer."""

_CONTEXTUAL = msgspec.json.Decoder(_Reply[_Document])
_INDEPENDENT = msgspec.json.Decoder(_Reply[_Row])


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
    """Return the largest size in bytes that an answer of so many rows may have: 4 times their need.

    >>> most_bytes(1, form="int8", dimensions=1024)
    73056
    """
    row = 4 * -(-row_bytes(WIRE_FORMATS[form], dimensions) // 3)
    return _AROUND_ROWS + 4 * rows * (row + _AROUND_A_ROW)


def parse_reply(
    content: bytes, chunks: Sequence[int], *, contextual: bool, form: Form, dimensions: int
) -> tuple[list[Array], object]:
    """Return one (chunks, dimensions) array per document, and the `usage` that the server reports.

    `chunks` has the number of chunks of each document sent. Rows are ordered by the indexes at both
    levels.

    Raises:
        ResponseError: There is not exactly one row per chunk. The message says what came back.
    """
    rows: list[list[_Row]]
    usage: object
    try:
        if contextual:
            reply = _CONTEXTUAL.decode(content)
            documents = _ordered(reply.data, len(chunks), "documents")
            rows = [
                _ordered(document.data, count, "chunks of a document")
                for document, count in zip(documents, chunks, strict=True)
            ]
            usage = reply.usage
        else:
            flat = _INDEPENDENT.decode(content)
            rows = [[row] for row in _ordered(flat.data, len(chunks), "texts")]
            usage = flat.usage
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResponseError(f"the reply is not what was asked for: {error}.") from None
    except RecursionError:
        raise ResponseError("the reply is nested too deeply to be one.") from None
    return [_decoded(each, form, dimensions) for each in rows], usage


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
                f"and {len(row.embedding)} came back. Hint: a server of your own may have a "
                "model of another size; pass its dimensions."
            )
    joined = b"".join(row.embedding for row in rows)
    packed = np.frombuffer(joined, np.uint8).reshape(len(rows), size)
    return unpack_codes(packed, WIRE_FORMATS[form], dimensions)
