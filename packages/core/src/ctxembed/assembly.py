"""From the rows of windows to one array per document."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from ctxembed.batches import Batch
from ctxembed.encoding import Array, empty_row, encode, mix
from ctxembed.errors import EmbedError, NonFiniteError, ResponseError
from ctxembed.planning import Block
from ctxembed.recipe import Recipe
from ctxembed.windows import Window

Outcome = Array | EmbedError


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
