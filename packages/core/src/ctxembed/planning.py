"""A block of documents, tokenised, cut into windows and packed into batches.

How batches are run, one by one or many at once, is `execution`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ctxembed.backends import Backend
from ctxembed.batches import Batch, pack
from ctxembed.documents import is_blank
from ctxembed.errors import EmbedError, EmptyChunkError
from ctxembed.recipe import Recipe
from ctxembed.windows import TokenizedChunk, Window, plan_document

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Planned documents: for each its chunk numbers that the model reads, or its error.

    A window's `document` is the position in the block; document numbers in errors start at `first`.
    """

    first: int
    documents: list[Texts | EmbedError]
    read: list[list[int] | EmbedError]
    windows: list[Window]
    members: list[list[int]]
    batches: list[Batch]


def plan_block(
    backend: Backend, recipe: Recipe, documents: Sequence[Texts | EmbedError], first: int
) -> Block:
    """Tokenise and plan documents, numbered from `first`; what can't be planned stays as its error."""
    tokenized = iter(
        backend.tokenize(
            [
                chunk
                for document in documents
                if not isinstance(document, EmbedError)
                for chunk in document
                if not is_blank(chunk)
            ]
        )
    )
    read: list[list[int] | EmbedError] = []
    windows: list[Window] = []
    for position, document in enumerate(documents):
        if isinstance(document, EmbedError):
            read.append(document)
            continue
        chunks = [None if is_blank(chunk) else next(tokenized) for chunk in document]
        try:
            numbers, planned = _plan_one(position, chunks, recipe)
        except EmbedError as error:
            error.document = first + position
            read.append(error)
        else:
            read.append(numbers)
            windows += planned
    members = pack(windows, backend.limits, recipe.prefix.count if recipe.prefix else 0)
    batches = [
        Batch(tuple(windows[number] for number in numbers), recipe.form, recipe.prefix)
        for numbers in members
    ]
    return Block(first, list(documents), read, windows, members, batches)


def company(block: Block) -> tuple[int, int]:
    """Return how many chunks have siblings, and how many of them see any in their window."""
    several = [
        len(numbers) if not isinstance(numbers, EmbedError) and len(numbers) > 1 else 0
        for numbers in block.read
    ]
    seen = sum(len(window.keep) for window in block.windows if len(window.chunks) > 1)
    return sum(several), seen


def _plan_one(
    position: int, chunks: Sequence[TokenizedChunk | None], recipe: Recipe
) -> tuple[list[int], list[Window]]:
    numbers = [n for n, chunk in enumerate(chunks) if chunk is not None and chunk.count]
    if recipe.empty == "error" and len(numbers) < len(chunks):
        missing = min(set(range(len(chunks))) - set(numbers))
        message = 'has no token that the model knows. Hint: drop it, or set empty="zero".'
        raise EmptyChunkError(message, chunk=missing)
    real = [chunk for chunk in chunks if chunk is not None and chunk.count]
    try:
        return numbers, plan_document(position, real, recipe.layout)
    except EmbedError as error:
        if error.chunk is not None:
            error.chunk = numbers[error.chunk]
        raise
