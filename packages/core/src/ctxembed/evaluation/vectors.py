"""The vectors of all chunks by each method, and of the queries; with what they cost."""

import time
from collections.abc import Callable, Sequence
from typing import cast

from ctxembed.embedder import Embedder
from ctxembed.encoding import normalize
from ctxembed.errors import EmbedError
from ctxembed.evaluation.corpus import Corpus
from ctxembed.evaluation.methods import Method, MethodVectors, Vectors, with_neighbours
from ctxembed.windows import layout_for

Watch = Callable[[str, int, int], None]
"""Is told a stage, how many chunks or queries of it are done, and how many there are."""


def embed_by_methods(
    corpus: Corpus, contextual: Embedder, independent: Embedder, watch: Watch
) -> list[MethodVectors]:
    """Return the vectors to compare; without contextual ones where `context_weight` is 0."""
    alone = _embed("independent", independent, corpus, watch)
    found = [alone]
    if layout_for(contextual.settings, contextual.backend.spec).context_weight:
        found.append(_embed("contextual", contextual, corpus, watch))
    return [*found, _with_neighbours(alone)]


def _embed(name: Method, embedder: Embedder, corpus: Corpus, watch: Watch) -> MethodVectors:
    """Return the unit vectors that an embedder gives; an error names the document by its id."""
    total = sum(map(len, corpus.documents))
    before, start = embedder.usage.tokens, time.perf_counter()
    vectors: list[Vectors] = []
    done = 0
    watch(name, done, total)
    try:
        for rows in embedder.stream(corpus.texts):
            vectors.append(normalize(cast(Vectors, rows)))  # an error would have been raised
            done += len(vectors[-1])
            watch(name, done, total)
    except EmbedError as error:
        number = error.document
        key = error.key if number is None else corpus.documents[number][0].document
        raise error.at(key=key) from error.__cause__
    seconds = time.perf_counter() - start
    return MethodVectors(name, vectors, embedder.usage.tokens - before, seconds)


def _with_neighbours(independent: MethodVectors) -> MethodVectors:
    """Return the vectors that cost nothing beyond what was read and waited for already."""
    start = time.perf_counter()
    vectors = [with_neighbours(rows) for rows in independent.vectors]
    seconds = independent.seconds + time.perf_counter() - start
    return MethodVectors("neighbours", vectors, independent.tokens, seconds)


def embed_queries(embedder: Embedder, texts: Sequence[str], watch: Watch) -> Vectors:
    """Return one unit row per query."""
    watch("queries", 0, len(texts))
    rows = normalize(embedder.embed_queries(texts))
    watch("queries", len(texts), len(texts))
    return rows
