"""Documents, looked up in the cache, or tokenised and cut into windows that the model will read.

How windows are run, one batch after the other or many at once, is left to `execution`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ctxembed.backends import Backend
from ctxembed.batches import Batch, Limits, pack
from ctxembed.cache.entry import CachedDocument
from ctxembed.documents import Document, TokenizedChunk, is_blank
from ctxembed.errors import EmbedError, EmptyChunkError
from ctxembed.recipe import Recipe
from ctxembed.windows import Window, plan_windows

Place = tuple[int, int]
"""`(document, window)`: a document's position in the call, and the number of one of its windows."""

LARGEST_BATCH = 32_768
"""Tokens of a batch, where a backend takes more, in a guess at how much fills some batches."""

LARGE_ROUNDS = 4
"""A document is large if every place for a batch is filled so many times with its windows."""


@dataclass(frozen=True, slots=True)
class PlannedDocument:
    """One document as the model will read it, or the error that keeps it from being read.

    `number` is its position in the call and `chunks` how many chunks it has; `read` has the numbers
    of those that the model reads, in order: the others have no text. `tokens` counts every chunk
    once, and the separators between them. With a cache, a document may have no windows although it
    has text: `cached` holds its rows, or it is the `twin` of the document with that number, which
    has the same text and is being read. `key` is what it is kept under, once it has been read, and
    `present` tells which of its chunks that are not blank have tokens.
    """

    number: int
    chunks: int = 0
    read: tuple[int, ...] = ()
    windows: tuple[Window, ...] = ()
    tokens: int = 0
    error: EmbedError | None = None
    key: bytes | None = None
    present: tuple[bool, ...] = ()
    cached: CachedDocument | None = None
    twin: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch, and the places of its windows; `large_document` is the one that they are all of."""

    batch: Batch
    places: list[Place]
    large_document: int | None = None


def plan_documents(
    backend: Backend, recipe: Recipe, documents: Sequence[Document | EmbedError], first: int = 0
) -> list[PlannedDocument]:
    """Return what the model will read of each document; their numbers count from `first`.

    A document that is an error already, or that cannot be planned, comes back as its error. With a
    cache, what is found there is not tokenised, and equal documents are read once.
    """
    keys = [_key(document, recipe) for document in documents]
    found = recipe.cache.find(filter(None, keys)) if recipe.cache else {}
    planned: dict[int, PlannedDocument] = {}
    for number, (document, key) in enumerate(zip(documents, keys, strict=True), first):
        if isinstance(document, EmbedError):
            planned[number] = PlannedDocument(number, error=document)
        elif key in found and _usable(found[key], recipe):
            planned[number] = _from_cache(number, document, found[key])
    left = [
        (number, key, document)
        for number, (document, key) in enumerate(zip(documents, keys, strict=True), first)
        if number not in planned and not isinstance(document, EmbedError)
    ]
    texts = (each for _, _, document in left for each in document)
    tokenized = iter(
        backend.tokenize([each for each in texts if isinstance(each, str) and not is_blank(each)])
    )
    read: dict[bytes, int] = {}
    for number, key, document in left:
        chunks = [
            next(tokenized) if isinstance(chunk, str) and not is_blank(chunk) else chunk
            for chunk in document
        ]
        try:
            each = replace(_plan(number, chunks, recipe), key=key)
        except EmbedError as error:
            each = PlannedDocument(number, error=error)
        if key is not None and each.windows:
            twin = read.setdefault(key, number)
            each = each if twin == number else replace(each, windows=(), twin=twin)
        planned[number] = each
    return [planned[number] for number in range(first, first + len(documents))]


def _text(chunk: str | TokenizedChunk) -> str:
    return chunk.text if isinstance(chunk, TokenizedChunk) else chunk


def _key(document: Document | EmbedError, recipe: Recipe) -> bytes | None:
    """Return what a document is kept under, None where nothing is looked up or kept."""
    if recipe.cache is None or isinstance(document, EmbedError):
        return None
    texts = [text for text in map(_text, document) if not is_blank(text)]
    return recipe.cache.key(texts) if texts else None


def _usable(found: CachedDocument, recipe: Recipe) -> bool:
    """Tell whether planning the document would raise nothing that the cached one hides."""
    if recipe.empty == "error" and not found.read.all():
        return False
    return recipe.layout.long_chunks == "pool" or not found.pooled


def _from_cache(number: int, document: Document, found: CachedDocument) -> PlannedDocument:
    texts = [index for index, chunk in enumerate(document) if not is_blank(_text(chunk))]
    read = tuple(index for index, has in zip(texts, found.read, strict=True) if has)
    return PlannedDocument(number, len(document), read, tokens=found.tokens, cached=found)


def _plan(number: int, chunks: Sequence[str | TokenizedChunk], recipe: Recipe) -> PlannedDocument:
    """Return one document planned; a chunk that is still a string has no text."""
    found = {
        index: chunk
        for index, chunk in enumerate(chunks)
        if isinstance(chunk, TokenizedChunk) and chunk.count and not is_blank(chunk.text)
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
    separators = recipe.layout.separator_tokens * max(0, len(read) - 1)
    return PlannedDocument(
        number,
        len(chunks),
        read,
        tuple(windows),
        tokens=sum(chunk.count for chunk in found.values()) + separators,
        present=tuple(
            index in found for index, chunk in enumerate(chunks) if not is_blank(_text(chunk))
        ),
    )


def places_of(documents: Iterable[PlannedDocument]) -> list[Place]:
    """Return the places of all windows, in order."""
    return [(each.number, index) for each in documents for index in range(len(each.windows))]


def plan_batches(
    documents: Iterable[PlannedDocument], recipe: Recipe, limits: Limits
) -> list[PlannedBatch]:
    """Return the windows of documents in batches; those of a large document are batches apart.

    So the others need not wait for it: where like lengths are put together, its windows would be
    spread over all batches.
    """
    most = LARGE_ROUNDS * limits.concurrency * min(limits.batch_tokens, LARGEST_BATCH)
    groups: dict[int | None, list[PlannedDocument]] = {}
    for document in documents:
        large = sum(window.tokens for window in document.windows) > most
        groups.setdefault(document.number if large else None, []).append(document)
    before = recipe.prefix.count if recipe.prefix else 0
    batches = []
    for large_document, members in groups.items():
        places = places_of(members)
        windows = [window for document in members for window in document.windows]
        for numbers in pack(windows, limits, before):
            batch = Batch(tuple(windows[n] for n in numbers), recipe.form, recipe.prefix)
            batches.append(PlannedBatch(batch, [places[n] for n in numbers], large_document))
    return batches


def is_cached(document: PlannedDocument) -> bool:
    """Tell whether the model need not read a document, because its rows are known."""
    return document.cached is not None or document.twin is not None


def count_cached(documents: Iterable[PlannedDocument]) -> int:
    """Return how many documents the model need not read, because their rows are known."""
    return sum(map(is_cached, documents))


def count_siblings(
    documents: Iterable[PlannedDocument], usual_chunk_tokens: int
) -> tuple[int, int]:
    """Return how many chunks to be read could have company, and how many have it in a window.

    A document's only chunk could have had company where it is larger than chunks usually are.
    """
    chunks = seen = 0
    for document in documents:
        if document.windows and (len(document.read) > 1 or document.tokens > usual_chunk_tokens):
            chunks += len(document.read)
            seen += sum(len(each.keep) for each in document.windows if len(each.chunks) > 1)
    return chunks, seen
