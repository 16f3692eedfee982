"""The metadata keys that say where a chunk belongs, and `context_key` for `index()`.

`siblings` writes the keys and reads them.
"""

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from langchain_core.documents import Document

from ctxembed import InputError, sibling_fingerprint

CONTEXT_ID = "context_id"
"""Hash of the ordered siblings, and of the embeddings' fingerprint where it is known."""

CONTEXT_INDEX = "context_index"
"""Position of the chunk among its siblings, from 0."""

CONTEXT_SIZE = "context_size"
"""How many siblings there are, the chunk itself included."""

CHUNK_ID = "chunk_id"
"""One value per chunk: hash of its source, its context and its place there."""

SOURCE_ID = "source_id"
"""What stays the same when the document is edited: the default name of the key."""

SOURCE = "source"
"""Where loaders put what they read from."""

Metadatas = list[dict[str, Any]] | None
"""One dictionary per text, or none at all."""


def context_key(document: Document) -> str:
    """Return a UUID from a chunk's text and metadata, for `index(key_encoder=context_key)`.

    The metadata has a hash of all siblings and the chunk's place among them. Any change in a
    document therefore gives all of its chunks new keys, and a repeated chunk has a key of its own.
    It is a UUID because some stores take no other id. `chunk_id` says the same again and is left
    out.

    Raises:
        InputError: the metadata has values that JSON does not know.
    """
    metadata = {key: value for key, value in document.metadata.items() if key != CHUNK_ID}
    try:
        plain = json.dumps(metadata, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InputError(
            "a chunk's metadata cannot be written as JSON, and so gives no stable key. Hint: leave "
            "strings, numbers, booleans, None, and lists and dicts of these.",
            key=document.id,
        ) from error
    return str(UUID(hex=sibling_fingerprint([document.page_content, plain])))


def first_name(*values: object) -> str | None:
    """Return the first value that is neither None nor empty, as text; None where there is none."""
    return next((str(value) for value in values if value not in (None, "")), None)


def chunks_of(texts: Iterable[str], metadatas: Metadatas) -> list[Document]:
    """Return texts and their metadata as chunks."""
    if isinstance(texts, str):
        raise InputError("got one string. Hint: a list of texts.")
    texts = list(texts)
    metadatas = metadatas or [{} for _ in texts]
    if len(metadatas) != len(texts):
        raise InputError(
            f"got {len(texts)} texts and {len(metadatas)} metadatas. Hint: one for each."
        )
    return [
        Document(page_content=text, metadata=metadata)
        for text, metadata in zip(texts, metadatas, strict=True)
    ]
