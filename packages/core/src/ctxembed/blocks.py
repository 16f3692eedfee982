"""A block of documents: planned together, and put together again from the rows of its windows.

`Recipe` holds what settings and model decide between them. How batches are run, one by one or many at
once, is the embedder's business.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ctxembed.backends import Backend
from ctxembed.documents import is_blank
from ctxembed.encoding import Array, Encoding, Form, empty_row, encode, form_for, mix
from ctxembed.errors import (
    ConfigurationError,
    EmbedError,
    EmptyChunkError,
    NonFiniteError,
    ResponseError,
)
from ctxembed.models import Quantizer
from ctxembed.planning import (
    Batch,
    Layout,
    TokenizedChunk,
    Window,
    layout_for,
    pack,
    plan_document,
)
from ctxembed.settings import EmptyChunks, Settings

Texts = tuple[str, ...]
Outcome = Array | EmbedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything between chunks and stored vectors that doesn't change from call to call."""

    layout: Layout
    form: Form
    encoding: Encoding
    quantizer: Quantizer
    width: int
    dimensions: int
    unit: bool
    empty: EmptyChunks
    prefix: TokenizedChunk | None = None


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


def document_recipe(settings: Settings, backend: Backend) -> Recipe:
    """Return the recipe for documents, or raise `ConfigurationError` for what can't go together."""
    spec = backend.spec
    text = spec.document_prefix if settings.document_prefix is None else settings.document_prefix
    prefix = backend.tokenize([text])[0] if text else None
    layout = layout_for(settings, spec, prefix.count if prefix else 0)
    return _recipe(settings, backend, layout, prefix)


def query_recipe(settings: Settings, backend: Backend) -> Recipe:
    """Return the recipe for queries: each alone, without the prefix that documents get."""
    layout = replace(layout_for(settings, backend.spec), context_weight=0.0)
    return _recipe(settings, backend, layout, None)


def _recipe(
    settings: Settings, backend: Backend, layout: Layout, prefix: TokenizedChunk | None
) -> Recipe:
    spec = backend.spec
    width = settings.dimensions or spec.dimensions
    if width > spec.dimensions:
        message = f"dimensions is {width} and {spec.name} has {spec.dimensions}."
        raise ConfigurationError(message)
    mixed = 0 < layout.context_weight < 1 or layout.long_chunks == "pool"
    form = form_for(settings.encoding, spec.quantizer, mixed=mixed, forms=backend.forms)
    if form is None:
        message = (
            "this backend gives finished codes only, and these settings need vectors before they are "
            'quantised. Hint: context_weight=1 and long_chunks="error", or local weights.'
        )
        raise ConfigurationError(message)
    return Recipe(
        layout=layout,
        form=form,
        encoding=settings.encoding,
        quantizer=spec.quantizer,
        width=spec.dimensions,
        dimensions=width,
        unit=settings.normalize,
        empty=settings.empty,
        prefix=prefix,
    )


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


def check_rows(batch: Batch, rows: Sequence[Array], recipe: Recipe) -> list[Array]:
    """Return the rows of a batch, or raise `ResponseError` where counts, width or values are wrong."""
    if len(rows) != len(batch.windows):
        message = f"{len(batch.windows)} windows went in and {len(rows)} arrays came back."
        raise ResponseError(message)
    for window, array in zip(batch.windows, rows, strict=True):
        if len(array) != len(window.chunks):
            message = f"{len(window.chunks)} chunks went in and {len(array)} rows came back."
            raise ResponseError(message)
        if array.ndim != 2 or array.shape[1] != recipe.width:  # noqa: PLR2004 - rows by width
            message = f"rows should have {recipe.width} dimensions and have {array.shape[1:]}."
            raise ResponseError(message)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NonFiniteError
    return list(rows)


def finish_block(block: Block, rows: Sequence[Outcome], recipe: Recipe) -> list[Outcome]:
    """Return one array or error a document, from one array or error a window."""
    mine: list[list[int]] = [[] for _ in block.documents]
    for number, window in enumerate(block.windows):
        mine[window.document].append(number)
    outcomes: list[Outcome] = []
    for position, (read, numbers) in enumerate(zip(block.read, mine, strict=True)):
        if isinstance(read, EmbedError):
            outcomes.append(read)
            continue
        found = [(block.windows[number], rows[number]) for number in numbers]
        failed = next((row for _, row in found if isinstance(row, EmbedError)), None)
        if failed is not None:
            error = copy.copy(failed)
            error.document = block.first + position
            error.__cause__ = failed.__cause__
            outcomes.append(error)
            continue
        good = [(window, row) for window, row in found if not isinstance(row, EmbedError)]
        vectors = _encoded(_merge(good, len(read), recipe), recipe)
        outcomes.append(_with_blanks(vectors, read, len(block.documents[position]), recipe))  # type: ignore[arg-type]
    return outcomes


def _merge(found: Sequence[tuple[Window, Array]], chunks: int, recipe: Recipe) -> Array:
    """Return one row a chunk: from its window, from its pieces, or mixed with its independent row."""
    kind = np.float32 if recipe.form == "pooled" else np.int8
    if len(found) == 1 and len(found[0][0].keep) == chunks and found[0][0].share == 1:
        return found[0][1].astype(kind)
    contextual = np.zeros((chunks, recipe.width), kind)
    independent = np.zeros_like(contextual)
    has = np.zeros((2, chunks), bool)
    for window, rows in found:
        kept = rows[window.keep.start - window.first : window.keep.stop - window.first]
        place = slice(window.keep.start, window.keep.stop)
        has[int(window.independent), place] = True
        if not window.independent:
            contextual[place] = kept
        elif window.share == 1:
            independent[place] = kept
        else:
            independent[place] += np.float32(window.share) * kept
    merged = np.where(has[0][:, None], contextual, independent)
    both = has.all(axis=0)
    if both.any():
        weight = recipe.layout.context_weight
        merged[both] = mix(contextual[both], independent[both], weight)
    return merged


def _encoded(rows: Array, recipe: Recipe) -> Array:
    return encode(
        rows,
        recipe.form,
        encoding=recipe.encoding,
        quantizer=recipe.quantizer,
        dimensions=recipe.dimensions,
        unit=recipe.unit,
    )


def _with_blanks(vectors: Array, read: Sequence[int], chunks: int, recipe: Recipe) -> Array:
    if len(read) == chunks:
        return vectors
    zero = empty_row(recipe.encoding, recipe.dimensions, unit=recipe.unit)
    full = np.tile(zero, (chunks, 1))
    full[list(read)] = vectors
    return full
