"""From the rows of windows to one array per document: `assemble`, and `Assembly` for many.

What the model gave is checked here before anything is made of it.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ctxembed.batches import Batch
from ctxembed.cache.entry import CachedDocument
from ctxembed.encoding import (
    Array,
    dequantize,
    empty_row,
    mix,
    neighbour_directions,
    quantize,
)
from ctxembed.errors import EmbedError, NonFiniteError, ResponseError
from ctxembed.planning import Place, PlannedDocument, places_of
from ctxembed.recipe import Recipe
from ctxembed.windows import Window

Outcome = Array | EmbedError
"""The rows of a window or of a document, or what kept the model from giving them."""

Errors = Literal["raise", "return"]
"""Whether a document that cannot be embedded ends the call, or is returned as its error."""

_MOST_NEIGHBOURS = 1e12
"""A neighbour weight of more is this one: float32 has nothing left of the chunk's own vectors."""

_BYTES_PER_TOKEN = 8
_BYTES_PER_CHUNK = 100
"""What a document under way takes beside its vectors: text and ids, and the objects around them."""


def check_rows(batch: Batch, rows: Sequence[Array], recipe: Recipe) -> None:
    """Raise `ResponseError` where counts, width or values of a batch's rows are wrong."""
    if len(rows) != len(batch.windows):
        raise ResponseError(
            f"{len(batch.windows)} windows went in and {len(rows)} arrays came back."
        )
    for window, array in zip(batch.windows, rows, strict=True):
        if len(array) != len(window.chunks):
            raise ResponseError(
                f"{len(window.chunks)} chunks went in and {len(array)} rows came back."
            )
        if array.ndim != 2 or array.shape[1] != recipe.width:  # noqa: PLR2004 - rows by width
            raise ResponseError(
                f"rows should have {recipe.width} dimensions and have {array.shape[1:]}."
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NonFiniteError


class Assembly:
    """Documents under way: each comes out, in order, when the rows of its last window are there.

    `held` is about how many bytes the documents take that have not come out yet: text, tokens and
    vectors. `added` counts the documents taken so far, and `failures`
    those that became an error. `failed` is the position of the document
    that ends the call, None while there is none; with the errors "return" there never is one.
    """

    def __init__(self, recipe: Recipe, errors: Errors) -> None:
        self.held = self.added = self.failures = 0
        self.failed: int | None = None
        self._recipe = recipe
        self._errors = errors
        item_bytes = 4 if recipe.form == "pooled" or recipe.unit else 1
        self._bytes_per_chunk = recipe.width * item_bytes + _BYTES_PER_CHUNK
        self._documents: dict[int, PlannedDocument] = {}
        self._twins: dict[int, list[PlannedDocument]] = {}
        self._sizes: dict[int, int] = {}
        self._rows: dict[int, dict[int, Outcome]] = {}
        self._finished: dict[int, Outcome] = {}
        self._next = 0

    def add(self, documents: Sequence[PlannedDocument]) -> None:
        """Take the next documents, in order."""
        for document in documents:
            tokens = sum(window.tokens for window in document.windows)
            size = tokens * _BYTES_PER_TOKEN + document.chunks * self._bytes_per_chunk
            self.held += size
            self.added += 1
            self._sizes[document.number] = size
            if document.twin is not None:
                self._twins.setdefault(document.twin, []).append(document)
            elif document.windows:
                self._documents[document.number] = document
                self._rows[document.number] = {}
            else:
                self._finish(document, document.cached or quantized(document, [], self._recipe))

    def put(self, places: Sequence[Place], rows: Sequence[Outcome]) -> None:
        """Take the rows of windows, and put those documents together that are complete now.

        With a cache, they are kept there before anything else can fail.
        """
        kept: dict[bytes, CachedDocument] = {}
        for (number, window), outcome in zip(places, rows, strict=True):
            self._rows[number][window] = outcome
            document = self._documents[number]
            if len(self._rows[number]) < len(document.windows):
                continue
            del self._documents[number]
            given = self._rows.pop(number)
            found = quantized(document, [given[n] for n in range(len(given))], self._recipe)
            if document.key is not None and not isinstance(found, EmbedError):
                kept[document.key] = found
            for each in (document, *self._twins.pop(number, ())):
                self._finish(each, found)
        if self._recipe.cache is not None:
            self._recipe.cache.keep(kept)

    def ready(self) -> Iterator[Outcome]:
        """Give out the documents whose turn it is, as far as they are complete.

        Raises:
            EmbedError: the next one cannot be embedded, and the call ends with that.
        """
        while self._next in self._finished:
            outcome = self._finished.pop(self._next)
            self.held -= self._sizes.pop(self._next)
            self._next += 1
            if isinstance(outcome, EmbedError):
                if self._errors == "raise":
                    raise outcome
                outcome = outcome.at(last_document=None)
            yield outcome

    def _finish(self, document: PlannedDocument, found: CachedDocument | EmbedError) -> None:
        outcome = assemble(document, found, self._recipe)
        self._finished[document.number] = outcome
        if not isinstance(outcome, EmbedError):
            return
        self.failures += 1
        if self._errors == "raise":
            known = document.number if self.failed is None else self.failed
            self.failed = min(known, document.number)


def quantized(
    document: PlannedDocument, rows: Sequence[Outcome], recipe: Recipe
) -> CachedDocument | EmbedError:
    """Return what is kept of a document, from the rows of its windows, or the first error."""
    if document.error is not None:
        return document.error
    failed = next((row for row in rows if isinstance(row, EmbedError)), None)
    if failed is not None:
        return failed
    found = [
        (window, row)
        for window, row in zip(document.windows, rows, strict=True)
        if not isinstance(row, EmbedError)
    ]
    merged = _merge(found, len(document.read), recipe)
    return CachedDocument(
        quantize(
            merged,
            recipe.form,
            recipe.stored,
            quantizer=recipe.quantizer,
            dimensions=recipe.dimensions,
        ),
        np.array(document.present, bool),
        any(window.share < 1 for window in document.windows),
        document.tokens,
    )


def assemble(
    document: PlannedDocument, found: CachedDocument | EmbedError, recipe: Recipe
) -> Outcome:
    """Return the array of a document, or the error at its place.

    The result has one row per chunk, as the recipe encodes them: shape (chunks, dimensions), or
    (chunks, ceil(dimensions / 8)) for ubinary. A chunk without text has a zero row. The array
    belongs to the caller.
    """
    if isinstance(found, EmbedError):
        if document.error is not None:
            return found
        chunk = None if found.chunk is None else document.read[found.chunk]
        return found.at(document=document.number, chunk=chunk)
    vectors = dequantize(
        found.rows, encoding=recipe.encoding, dimensions=recipe.dimensions, unit=recipe.unit
    )
    if not document.windows:  # else the cache, or an equal document, has the same array
        vectors = vectors.copy()
    if len(document.read) == document.chunks:
        return vectors
    zero = empty_row(recipe.encoding, recipe.dimensions, unit=recipe.unit)
    full = np.tile(zero, (document.chunks, 1))
    full[list(document.read)] = vectors
    return full


def assemble_all(
    documents: Sequence[PlannedDocument], rows: Sequence[Array], recipe: Recipe
) -> list[Outcome]:
    """Return the array or error of each document; `rows` are those of their windows, in order."""
    assembly = Assembly(recipe, "return")
    assembly.add(documents)
    assembly.put(places_of(documents), rows)
    return [*assembly.ready()]


def _merge(found: Sequence[tuple[Window, Array]], chunks: int, recipe: Recipe) -> Array:
    """Return one row per chunk: from its window, from its pieces, or mixed of several.

    Shape (chunks, width), in the form in which the model gave them.
    """
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
    layout = recipe.layout
    changed = has.all(axis=0)
    added = np.zeros((chunks, 1), np.float32)
    if layout.neighbour_weight:
        share = np.float32(min(layout.neighbour_weight, _MOST_NEIGHBOURS))
        added = share * neighbour_directions(independent)
        changed |= added.any(axis=1)
    if changed.any():
        parts = merged[changed], independent[changed], added[changed]
        merged[changed] = mix(*parts, context_weight=layout.context_weight)
    return merged
