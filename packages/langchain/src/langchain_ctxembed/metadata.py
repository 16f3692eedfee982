"""The metadata keys that say where a chunk belongs, and `context_key` for `index()`.

Who writes the keys is `contexts.stamp_context`; who reads them is `contexts.find_contexts`.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from uuid import UUID

from langchain_core.documents import Document

from ctxembed import InputError

CONTEXT_ID = "context_id"
"""Hash of the ordered siblings, and of the embeddings' fingerprint where it is known."""

CONTEXT_INDEX = "context_index"
"""Position of the chunk among its siblings, from 0."""

CONTEXT_SIZE = "context_size"
"""How many siblings there are, the chunk itself included."""

SOURCE_ID = "source_id"
"""What stays the same when the document is edited: the default name of the key."""

SOURCE = "source"
"""Where loaders put what they read from."""


def context_key(document: Document) -> str:
    """Return a UUID from a chunk's text and metadata, for `index(key_encoder=context_key)`.

    The metadata has a hash of all siblings and the chunk's place among them: any change in a
    document gives all of its chunks new keys, and a repeated chunk has its own. A UUID, because some
    stores take no other id.

    Raises:
        InputError: the metadata isn't made of what JSON knows.
    """
    try:
        plain = json.dumps(document.metadata, sort_keys=True)
    except (TypeError, ValueError) as error:
        message = (
            "a chunk's metadata can't be written as JSON, and so gives no stable key. Hint: leave "
            "strings, numbers, booleans, None, and lists and dicts of these."
        )
        raise InputError(message, key=document.id) from error
    digest = blake2b(digest_size=16)
    for part in (document.page_content, plain):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return str(UUID(bytes=digest.digest()))
