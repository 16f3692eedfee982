"""Items to documents and back: `group`, `scatter`, checks and the sibling fingerprint.

Positions are the identity of a chunk. Equal texts, equal keys and repeated chunks never collapse.
What the chunks are and where their borders lie is the caller's business.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, TypeVar

from ctxembed.errors import EmptyChunkError, InputError

T = TypeVar("T")

Position = tuple[int, int]
"""`(document, chunk)`: the place of an item in the grouped documents."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Documents in first-seen order, the key of each, and the place of every item."""

    documents: list[list[str]] = field(repr=False)
    keys: list[Hashable]
    positions: list[Position]


def group(items: Iterable[tuple[Hashable, str]]) -> Groups:
    """Return the documents that `(key, text)` items make up, a None key standing alone.

    >>> group([("a", "one"), (None, "alone"), ("a", "two")]).documents
    [['one', 'two'], ['alone']]
    """
    groups = Groups([], [], [])
    seen: dict[Hashable, int] = {}
    for key, text in items:
        number = None if key is None else seen.get(key)
        if number is None:
            number = len(groups.documents)
            groups.documents.append([])
            groups.keys.append(key)
            if key is not None:
                seen[key] = number
        groups.positions.append((number, len(groups.documents[number])))
        groups.documents[number].append(text)
    return groups


def scatter(rows: Sequence[Sequence[T]], positions: Iterable[Position]) -> list[T]:
    """Return one row an item: the inverse of `group`, over texts or over vectors."""
    return [rows[document][chunk] for document, chunk in positions]


def sibling_fingerprint(chunks: Sequence[str]) -> str:
    """Return a hash of the ordered chunks: it changes when any of them, or their order, does."""
    digest = blake2b(digest_size=16)
    for chunk in chunks:
        data = chunk.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def is_blank(chunk: str) -> bool:
    """Tell whether a chunk has nothing but whitespace."""
    return not chunk or chunk.isspace()


def check_document(
    document: object, number: int, empty: Literal["error", "zero"] = "error"
) -> tuple[str, ...]:
    """Return the chunks of one document, or raise `InputError` with its number.

    A string in place of a list of chunks, an empty document, a chunk that isn't a string, and (where
    `empty` is "error") a chunk without text are refused.
    """
    if isinstance(document, str | bytes):
        message = (
            "a document is a list of chunks, got one string. Hint: pass [[chunk, chunk], ...]; for "
            "texts that don't belong together, [[text] for text in texts]."
        )
        raise InputError(message, document=number)
    if not isinstance(document, Sequence):
        message = f"a document is a list of chunks, got {type(document).__name__}."
        raise InputError(message, document=number)
    if not document:
        raise InputError("has no chunks. Hint: leave it out of the call.", document=number)
    for index, chunk in enumerate(document):
        _check_chunk(chunk, number, index, empty)
    return tuple(document)


def _check_chunk(chunk: object, document: int, index: int, empty: str) -> None:
    if not isinstance(chunk, str):
        message = f"a chunk is a string, got {type(chunk).__name__}."
        raise InputError(message, document=document, chunk=index)
    if empty == "error" and is_blank(chunk):
        message = 'is empty or only whitespace. Hint: drop it, or set empty="zero" for a zero row.'
        raise EmptyChunkError(message, document=document, chunk=index)
    if not chunk.isascii():
        try:
            chunk.encode()
        except UnicodeEncodeError as error:
            message = f"has a lone surrogate at character {error.start}: that is not Unicode text."
            raise InputError(message, document=document, chunk=index) from None
