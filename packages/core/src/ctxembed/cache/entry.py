"""`CachedDocument`: what is kept of a document, and its bytes.

The bytes begin with a digest of everything after it and of the key. A flipped bit, a row under
another key, or a value that is not finite is never taken for a vector.
"""

import struct
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from ctxembed.encoding import Array, StoredForm

_DIGEST = 16
_HEAD = struct.Struct("<BBIIIQ")
_KINDS: dict[StoredForm, type] = {"codes": np.int8, "bits": np.uint8, "floats": np.float32}
_NUMBERS = {form: number for number, form in enumerate(_KINDS)}


@dataclass(frozen=True, slots=True, eq=False)
class CachedDocument:
    """The rows of one document, as they are before bits are unpacked or lengths made 1.

    Attributes:
        rows: Shape (chunks that the model read, width), as `encoding.quantize` gives them.
        read: One bool per chunk that is not blank: whether it has any token.
        pooled: Whether a chunk was longer than the model reads, and is the mean of its pieces.
        tokens: Tokens of all chunks, each counted once, with the separators between them.
    """

    rows: Array
    read: Array
    pooled: bool
    tokens: int


def to_bytes(key: bytes, document: CachedDocument, form: StoredForm) -> bytes:
    """Return the bytes of a document under its key."""
    chunks, width = document.rows.shape
    head = _HEAD.pack(
        _NUMBERS[form], document.pooled, len(document.read), chunks, width, document.tokens
    )
    body = head + np.packbits(document.read).tobytes() + document.rows.tobytes()
    return _digest(key, body) + body


def from_bytes(key: bytes, data: bytes, form: StoredForm, width: int) -> CachedDocument | None:
    """Return the document that `to_bytes` wrote under this key, or None for anything else."""
    body = data[_DIGEST:]
    if len(body) < _HEAD.size or data[:_DIGEST] != _digest(key, body):
        return None
    number, pooled, chunks, read_chunks, found_width, tokens = _HEAD.unpack_from(body)
    if number != _NUMBERS[form] or found_width != width:
        return None
    rows_start = _HEAD.size + -(-chunks // 8)
    mask = np.frombuffer(body[_HEAD.size : rows_start], np.uint8)
    read = np.unpackbits(mask, count=chunks).astype(bool)
    rows: Array = np.frombuffer(body[rows_start:], _KINDS[form])
    if rows.size != read_chunks * width or int(read.sum()) != read_chunks:
        return None
    if form == "floats" and not np.isfinite(rows).all():
        return None
    return CachedDocument(rows.reshape(read_chunks, width), read, bool(pooled), tokens)


def _digest(key: bytes, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=_DIGEST).digest()
