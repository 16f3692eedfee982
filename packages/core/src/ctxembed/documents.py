"""What a document is; from items to documents and back: `group`, `scatter`, checks.

Positions are the identity of a chunk. Equal texts, equal keys and repeated chunks never collapse.
Where a chunk begins and ends is left to the caller.
"""

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, Literal, TypeVar

from ctxembed.errors import EmptyChunkError, InputError

T = TypeVar("T")

Document = tuple["str | TokenizedChunk", ...]
"""The chunks of one document, in order."""

_SURROGATE = re.compile("[\ud800-\udfff]")

Position = tuple[int, int]
"""`(document, chunk)`: the place of an item in the grouped documents."""


@dataclass(frozen=True, slots=True)
class TokenizedChunk:
    """A chunk's text, its number of tokens, and the token ids where the backend knows them.

    It may stand in a document in the place of the text, where the embedder's own backend made it:
    the chunk is not tokenised again then.
    """

    text: str = field(repr=False)
    count: int
    ids: Sequence[int] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Groups(Generic[T]):
    """Documents in first-seen order, the key of each, and the place of every item."""

    documents: list[list[T]] = field(repr=False)
    keys: list[Hashable]
    positions: list[Position]


def group(items: Iterable[tuple[Hashable, T]]) -> Groups[T]:
    """Return the documents that `(key, text)` items make up; an item with the key None is alone.

    The items may be anything in the place of texts, such as a framework's own documents.

    Raises:
        InputError: an item is a string, and not a pair.

    >>> group([("a", "one"), (None, "alone"), ("a", "two")]).documents
    [['one', 'two'], ['alone']]
    """
    groups: Groups[T] = Groups([], [], [])
    seen: dict[Hashable, int] = {}
    for pair in items:
        if isinstance(pair, str):
            raise InputError(
                f"item {len(groups.positions)}: expected (key, text), got one string. Hint: the "
                "key says which document a text belongs to; None stands for one of its own."
            )
        key, item = pair
        number = None if key is None else seen.get(key)
        if number is None:
            number = len(groups.documents)
            groups.documents.append([])
            groups.keys.append(key)
            if key is not None:
                seen[key] = number
        groups.positions.append((number, len(groups.documents[number])))
        groups.documents[number].append(item)
    return groups


def scatter(rows: Sequence[Sequence[T]], positions: Iterable[Position]) -> list[T]:
    """Return one row per item: the inverse of `group`, for texts or for vectors."""
    return [rows[document][chunk] for document, chunk in positions]


def sibling_fingerprint(chunks: Sequence[str]) -> str:
    """Return a hash of the ordered chunks: it changes when any of them, or their order, does."""
    digest = blake2b(digest_size=16)
    for chunk in chunks:
        data = chunk.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def is_blank(text: str) -> bool:
    """Tell whether a text has nothing but whitespace."""
    return not text or text.isspace()


def has_text(text: str) -> bool:
    """Tell whether a text has anything but whitespace and NUL, which no model reads."""
    return bool(text.replace("\0", "").strip())


def check_document(
    document: object, number: int, empty: Literal["error", "zero"] = "error"
) -> Document:
    """Return the chunks of one document, or raise `InputError` with its number.

    A string in place of a list of chunks, an empty document, a chunk that is not a string, and
    (where `empty` is "error") a chunk without text are refused.
    """
    if isinstance(document, str | bytes):
        raise InputError(
            "a document is a list of chunks, got one string. Hint: pass [[chunk, chunk], ...]; for "
            "texts that do not belong together, [[text] for text in texts].",
            document=number,
        )
    if not isinstance(document, Sequence):
        raise InputError(
            f"a document is a list of chunks, got {type(document).__name__}.", document=number
        )
    if not document:
        raise InputError("has no chunks. Hint: leave it out of the call.", document=number)
    for index, chunk in enumerate(document):
        text = chunk.text if isinstance(chunk, TokenizedChunk) else chunk
        if not isinstance(text, str):
            raise InputError(
                f"a chunk is a string, got {type(text).__name__}.", document=number, chunk=index
            )
        if empty == "error" and is_blank(text):
            raise EmptyChunkError(
                'is empty or only whitespace. Hint: drop it. empty="zero" gives it a zero row, '
                "which a vector store may return as the best hit.",
                document=number,
                chunk=index,
            )
        surrogate = None if text.isascii() else _SURROGATE.search(text)
        if surrogate:
            raise InputError(
                f"has a lone surrogate at character {surrogate.start()}: that is not Unicode text.",
                document=number,
                chunk=index,
            )
    return tuple(document)
