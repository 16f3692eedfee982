"""The vectors of all chunks, each way, and of the queries; with what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import cast

from ctxembed.embedder import Embedder
from ctxembed.encoding import normalize
from ctxembed.errors import EmbedError
from ctxembed.evaluation.corpus import Corpus
from ctxembed.evaluation.methods import Vectors, Way, WayName, with_neighbours
from ctxembed.windows import layout_for

Watch = Callable[[str, int, int], None]
"""Is told a stage, how many chunks or queries of it are done, and how many there are."""


def embed_ways(
    corpus: Corpus, contextual: Embedder, independent: Embedder, watch: Watch
) -> list[Way]:
    """Return the ways to compare; without the contextual one where its `context_weight` is 0."""
    layout = layout_for(contextual.settings, contextual.backend.spec)
    alone = _embed("independent", independent, corpus, watch)
    ways = [alone]
    if layout.context_weight:
        ways.append(_embed("contextual", contextual, corpus, watch))
    return [*ways, _with_neighbours(alone)]


def _embed(name: WayName, embedder: Embedder, corpus: Corpus, watch: Watch) -> Way:
    """Return the unit vectors that an embedder gives; an error names the document by its id."""
    texts = corpus.texts
    total = sum(map(len, texts))
    before, start = embedder.usage.tokens, time.perf_counter()
    vectors: list[Vectors] = []
    done = 0
    watch(name, done, total)
    try:
        for rows in embedder.stream(texts):
            vectors.append(normalize(cast(Vectors, rows)))  # an error would have been raised
            done += len(vectors[-1])
            watch(name, done, total)
    except EmbedError as error:
        if error.document is not None:
            error.key = corpus.documents[error.document][0].document
        raise
    seconds = time.perf_counter() - start
    return Way(name, vectors, embedder.usage.tokens - before, seconds)


def _with_neighbours(independent: Way) -> Way:
    """Return the way that costs nothing beyond what was read and waited for already."""
    start = time.perf_counter()
    vectors = [with_neighbours(rows) for rows in independent.vectors]
    seconds = independent.seconds + time.perf_counter() - start
    return Way("neighbours", vectors, independent.tokens, seconds)


def embed_queries(embedder: Embedder, texts: Sequence[str], watch: Watch) -> Vectors:
    """Return one unit row a query."""
    watch("queries", 0, len(texts))
    rows = normalize(embedder.embed_queries(texts))
    watch("queries", len(texts), len(texts))
    return rows
