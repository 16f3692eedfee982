"""The body of a response: rows of the model as the JSON that the API documents. Pure functions."""

from base64 import b64encode
from collections.abc import Sequence

from pydantic_core import to_json

from ctxembed.encoding import Array
from ctxembed.wire import WireFormat, pack_codes


def response_body(
    rows: Sequence[Array], *, model: str, wire_format: WireFormat, tokens: int, nested: bool
) -> bytes:
    """Return the JSON of one array per document.

    With `nested`, the data are documents with their chunks. Without it, every document is one text.
    """
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
        return list(rows.tolist())
    if wire_format == "base64":
        return [b64encode(row).decode("ascii") for row in rows.astype("<f4")]
    return [b64encode(row).decode("ascii") for row in pack_codes(rows, wire_format)]
