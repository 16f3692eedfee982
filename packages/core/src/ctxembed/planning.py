"""Documents, tokenised and cut into windows: what the model will read of each.

How windows are run, one batch after the other or many at once, is left to `execution`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ctxembed.backends import Backend
from ctxembed.batches import Batch, Limits, pack
from ctxembed.documents import Document, TokenizedChunk, is_blank
from ctxembed.errors import EmbedError, EmptyChunkError
from ctxembed.recipe import Recipe
from ctxembed.windows import Window, plan_windows

Place = tuple[int, int]
"""`(document, window)`: a document's position in the call, and the number of one of its windows."""


@dataclass(frozen=True, slots=True)
class PlannedDocument:
    """One document as the model will read it, or the error that keeps it from being read.

    `number` is its position in the call and `chunks` how many chunks it has; `read` has the numbers
    of those that the model reads, in order: the others have no text.
    """

    number: int
    chunks: int = 0
    read: tuple[int, ...] = ()
    windows: tuple[Window, ...] = ()
    error: EmbedError | None = None


def plan_documents(
    backend: Backend, recipe: Recipe, documents: Sequence[Document | EmbedError], first: int = 0
) -> list[PlannedDocument]:
    """Return what the model will read of each document; their numbers count from `first`.

    A document that is an error already, or that cannot be planned, comes back as its error.
    """
    texts = [
        chunk
        for document in documents
        if not isinstance(document, EmbedError)
        for chunk in document
        if isinstance(chunk, str) and not is_blank(chunk)
    ]
    tokenized = iter(backend.tokenize(texts))
    planned = []
    for number, document in enumerate(documents, first):
        if isinstance(document, EmbedError):
            planned.append(PlannedDocument(number, error=document))
            continue
        chunks = [
            next(tokenized) if isinstance(chunk, str) and not is_blank(chunk) else chunk
            for chunk in document
        ]
        try:
            planned.append(_plan(number, chunks, recipe))
        except EmbedError as error:
            planned.append(PlannedDocument(number, error=error))
    return planned


def _plan(number: int, chunks: Sequence[str | TokenizedChunk], recipe: Recipe) -> PlannedDocument:
    """Return one document planned; a chunk that is still a string has no text."""
    found = {
        index: chunk
        for index, chunk in enumerate(chunks)
        if isinstance(chunk, TokenizedChunk) and chunk.count
    }
    if recipe.empty == "error" and len(found) < len(chunks):
        raise EmptyChunkError(
            'has no token that the model knows. Hint: drop it. empty="zero" gives it a zero row, '
            "which a vector store may return as the best hit.",
            document=number,
            chunk=min(set(range(len(chunks))) - found.keys()),
        )
    read = tuple(found)
    try:
        windows = plan_windows(number, tuple(found.values()), recipe.layout)
    except EmbedError as error:
        chunk = None if error.chunk is None else read[error.chunk]
        raise error.at(document=number, chunk=chunk) from None
    return PlannedDocument(number, len(chunks), read, tuple(windows))


def plan_batches(
    documents: Iterable[PlannedDocument], recipe: Recipe, limits: Limits
) -> list[tuple[Batch, list[Place]]]:
    """Return the windows of documents in batches, each with the places of its windows."""
    places = [
        (document, index) for document in documents for index in range(len(document.windows))
    ]
    windows = [document.windows[index] for document, index in places]
    return [
        (
            Batch(tuple(windows[member] for member in members), recipe.form, recipe.prefix),
            [(places[member][0].number, places[member][1]) for member in members],
        )
        for members in pack(windows, limits, recipe.prefix.count if recipe.prefix else 0)
    ]


def count_siblings(documents: Iterable[PlannedDocument]) -> tuple[int, int]:
    """Return how many chunks have siblings, and how many of them see any in their window."""
    chunks = seen = 0
    for document in documents:
        if len(document.read) > 1:
            chunks += len(document.read)
            seen += sum(len(each.keep) for each in document.windows if len(each.chunks) > 1)
    return chunks, seen
