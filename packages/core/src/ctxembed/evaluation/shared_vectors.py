"""`SharedVectors`: the runs of many settings, from as few readings of the text as they need.

Where a model's vectors are floats, a chunk is read alone once, and with its siblings once for each
kind of window. Weights, neighbours, encodings and dimensions are made of those two in numpy, by the
functions that an `Embedder` uses. Where a model gives finished codes, each context is read by
itself, and only what can be cut from its codes or bits is shared.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from ctxembed.embedder import Embedder
from ctxembed.encoding import (
    Array,
    Encoding,
    Floats,
    Form,
    dequantize,
    mix,
    neighbour_directions,
    pack_bits,
    quantize,
    unpack_bits,
)
from ctxembed.errors import EmbedError
from ctxembed.evaluation.corpus import Corpus
from ctxembed.evaluation.run import Run, depth
from ctxembed.planning import plan_documents
from ctxembed.recipe import Recipe, document_recipe
from ctxembed.search import nearest, two_stage
from ctxembed.settings import Settings

Watch = Callable[[str, int, int], None]
"""Is told a stage, how many chunks or queries of it are done, and how many there are."""

Search = Literal["nearest", "two_stage"]
"""All rows compared; or the 100 nearest by bits, ranked anew by their codes or by the query's."""

_CANDIDATES = 100


class _Reading(NamedTuple):
    """Rows of each document before they are quantised, and the seconds that reading them took."""

    rows: Sequence[Array]
    form: Form
    seconds: float | None


class SharedVectors:
    """Makes runs with one model. What was read is held in memory, and in the embedder's cache."""

    def __init__(self, embedder: Embedder, watch: Watch = lambda *_: None) -> None:
        """Take an embedder for its backend, its cache and the settings that runs do not name."""
        self._embedder = embedder
        self._watch = watch
        self._readings: dict[tuple[int, Settings], _Reading] = {}
        self._queries: dict[Settings, dict[str, Array]] = {}
        self._corpora: list[Corpus] = []  # held, because readings know them by their identity

    def run(
        self,
        corpus: Corpus,
        settings: Settings | None = None,
        *,
        name: str = "run",
        search: Search = "nearest",
    ) -> Run:
        """Return the run of these settings, by default the embedder's; its model does the work.

        Raises:
            ConfigurationError: the model cannot give such vectors.
            InputError: a chunk or query cannot be embedded; the message names its document.
            BackendError: the model gave no vectors.
        """
        settings = settings or self._embedder.settings
        recipe = document_recipe(settings, self._embedder.backend)
        reading = self._reading(corpus, settings, recipe, name)
        rows = [_stored(each, reading.form, recipe) for each in reading.rows]
        if search == "two_stage":
            hits, extra = self._two_stage(corpus, settings, recipe, np.concatenate(rows))
        else:
            queries = self._query_rows(corpus, settings, recipe)
            hits, extra = _nearest(queries, rows, recipe.encoding, depth(corpus)), 0
        return Run(
            name=name,
            corpus=corpus,
            vectors=rows,
            hits=hits,
            tokens=self._tokens(corpus, recipe),
            seconds=reading.seconds,
            bytes_per_chunk=rows[0][0].nbytes + extra,
        )

    def _reading(self, corpus: Corpus, settings: Settings, recipe: Recipe, name: str) -> _Reading:
        """Return rows of which the settings' own are made by quantising."""
        layout, alone = recipe.layout, _plain(settings, recipe)
        weight, share = layout.context_weight, layout.neighbour_weight
        together = replace(
            alone,
            context_weight=weight,
            window_tokens=layout.window_tokens,
            overlap_tokens=layout.overlap_tokens,
        )
        if recipe.quantizer == "tanh":
            if weight:
                return self._read(corpus, replace(together, neighbour_weight=share), name)
            found = self._read(corpus, alone, name)
            if not share:
                return found
            # nothing is read again: codes and bits stand for the vectors that they were made of
            rows = [mixed(each.astype(np.float32), each, 0.0, share) for each in found.rows]
            return found._replace(rows=rows, form="pooled")
        parts = []
        if weight < 1 or share:
            parts.append(self._read(corpus, alone, name))
        if weight:
            parts.append(self._read(corpus, replace(together, context_weight=1.0), name))
        both = zip(parts[-1].rows, parts[0].rows, strict=True)
        rows = [mixed(two, one, weight, share) for two, one in both]
        seconds = [part.seconds for part in parts]
        known = None if None in seconds else sum(filter(None, seconds))
        return _Reading(rows, "pooled", known)

    def _read(self, corpus: Corpus, settings: Settings, name: str) -> _Reading:
        """Return what the model gives for a corpus; an error names the document by its id."""
        known = self._readings.get((id(corpus), settings))
        if known is not None:
            return known
        embedder = Embedder(self._embedder.backend, settings, cache=self._embedder.cache)
        total = sum(map(len, corpus.documents))
        start = time.perf_counter()
        rows: list[Array] = []
        self._watch(name, 0, total)
        try:
            for found in embedder.stream(corpus.texts):
                rows.append(cast(Array, found))  # an error would have been raised
                self._watch(name, sum(map(len, rows)), total)
        except EmbedError as error:
            number = error.document
            key = error.key if number is None else corpus.documents[number][0].document
            raise error.at(key=key) from error.__cause__
        # a chunk alone has no context, so other readings of this run may have kept it
        kept = embedder.usage.cached_documents > sum(len(each) == 1 for each in corpus.documents)
        seconds = None if kept else time.perf_counter() - start
        form = _FORMS[settings.encoding]
        if form == "binary":
            rows = [unpack_bits(each, embedder.dimensions) for each in rows]
        self._corpora.append(corpus)
        return self._readings.setdefault((id(corpus), settings), _Reading(rows, form, seconds))

    def _query_rows(self, corpus: Corpus, settings: Settings, recipe: Recipe) -> Array:
        """Return one row per query as the settings have it; each text is embedded once."""
        plain = _plain(settings, recipe)
        known = self._queries.setdefault(plain, {})
        new = [*dict.fromkeys(q.text for q in corpus.queries if q.text not in known)]
        if new:
            self._watch("queries", 0, len(new))
            embedder = Embedder(self._embedder.backend, plain)
            known.update(zip(new, embedder.embed_queries(new), strict=True))
            self._watch("queries", len(new), len(new))
        rows = np.stack([known[query.text] for query in corpus.queries])
        form = _FORMS[plain.encoding]
        if form == "binary":
            rows = unpack_bits(rows, recipe.width)
        return _stored(rows, form, recipe)

    def _two_stage(
        self, corpus: Corpus, settings: Settings, recipe: Recipe, rows: Array
    ) -> tuple[NDArray[np.intp], int]:
        """Return the hits of `two_stage`, and the bytes per chunk that it needs beside `rows`."""
        k = depth(corpus)
        candidates = max(_CANDIDATES, k)
        if recipe.stored != "bits":
            queries, bits = self._query_rows(corpus, settings, recipe), pack_bits(rows)
            return two_stage(queries, bits, rows, k, candidates).indexes, bits[0].nbytes
        bits = rows if rows.dtype == np.uint8 else pack_bits(rows)
        full = replace(settings, encoding="int8")
        queries = self._query_rows(corpus, full, document_recipe(full, self._embedder.backend))
        signs = self._query_rows(corpus, settings, recipe)
        signs = signs if signs.dtype == np.uint8 else pack_bits(signs)
        return two_stage(queries, bits, None, k, candidates, query_bits=signs).indexes, 0

    def _tokens(self, corpus: Corpus, recipe: Recipe) -> int:
        """Return what the model reads for a corpus where no reading is shared or cached."""
        prefix = recipe.prefix.count if recipe.prefix else 0
        planned = plan_documents(self._embedder.backend, recipe, [*map(tuple, corpus.texts)])
        return sum(window.tokens + prefix for each in planned for window in each.windows)


_FORMS: dict[Encoding, Form] = {"float": "pooled", "int8": "int8", "ubinary": "binary"}
"""What is read: float32 rows, or the codes or bits of a model that has its own."""


def _plain(settings: Settings, recipe: Recipe) -> Settings:
    """Return settings that read each chunk alone, in the form that all others are made of."""
    encoding: Encoding = "float"
    if recipe.quantizer == "tanh":
        encoding = "ubinary" if recipe.stored == "bits" else "int8"
    return replace(
        settings,
        encoding=encoding,
        dimensions=None,
        normalize=False,
        empty="error",
        context_weight=0.0,
        neighbour_weight=0.0,
        window_tokens=None,
        overlap_tokens=None,
        cache=None,
    )


def mixed(contextual: Floats, independent: Floats, weight: float, share: float) -> Floats:
    """Return what these weights make of the rows of a document, shape (chunks, dimensions)."""
    if weight in (0, 1) and not share:
        return contextual
    added = np.float32(share) * neighbour_directions(independent)
    return mix(contextual, independent, added, context_weight=weight)


def _stored(rows: Array, form: Form, recipe: Recipe) -> Array:
    """Return rows as they are stored: truncated, quantised, and scaled where that is asked for."""
    # a mixture of codes is no input of tanh any more
    quantizer = "scale" if form == "pooled" else recipe.quantizer
    found = quantize(rows, form, recipe.stored, quantizer=quantizer, dimensions=recipe.dimensions)
    return dequantize(
        found, encoding=recipe.encoding, dimensions=recipe.dimensions, unit=recipe.unit
    )


def _nearest(
    queries: Array, rows: Sequence[Array], encoding: Encoding, k: int
) -> NDArray[np.intp]:
    if encoding == "binary":
        queries, rows = pack_bits(queries), [pack_bits(each) for each in rows]
    return nearest(queries, rows, k).indexes
