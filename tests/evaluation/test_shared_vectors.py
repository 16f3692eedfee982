"""Runs of shared readings: the vectors that an embedder gives, and no text read twice."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.encoding import normalize, unpack_bits
from ctxembed.errors import InputError
from ctxembed.evaluation import Collection, Document, Query, Run, SharedVectors, cut
from ctxembed.evaluation.run import depth, ranking
from ctxembed.evaluation.shared_vectors import mixed
from ctxembed.search import nearest
from ctxembed.testing import FakeBackend

TEXTS = ["one two. three four. five six. seven.", "alone.", "eight nine. ten. eleven twelve."]
COLLECTION = Collection(
    name="numbers",
    source="made here",
    documents=tuple(Document(f"d{n}", "", text) for n, text in enumerate(TEXTS)),
    queries=(
        Query("q", "three four.", {"d0": ((9, 20),)}),
        Query("r", "twelve", {"d2": ((17, 31),)}),
    ),
)
UNTRAINED = {"window_tokens": 4, "context_weight": 0.5, "neighbour_weight": 0.1}


def sentences(document: Document) -> list[str]:
    return [f"{part}." for part in document.text.rstrip(".").split(". ")]


@pytest.fixture(params=["scale", "tanh"])
def embedder(request) -> Embedder:
    spec = ModelSpec(
        name="fake", dimensions=24, max_tokens=50, quantizer=request.param, **UNTRAINED
    )
    return Embedder(FakeBackend(spec), Settings(model="fake"))


def test_half_of_the_mean_direction_of_the_neighbours_is_added():
    """Rows at the ends have one neighbour, rows between two; all come out as unit vectors."""
    rows = np.eye(3, dtype=np.float32)

    expected = np.array([[1, 0.5, 0], [0.5**1.5, 1, 0.5**1.5], [0, 0.5, 1]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert_allclose(mixed(rows, rows, 0.0, 0.5), expected, rtol=1e-6)


def test_a_chunk_alone_stays_as_it_is():
    """Without neighbours there is nothing to add."""
    row = np.array([[0.6, 0.8]], np.float32)

    assert_allclose(mixed(row, row, 0.0, 0.5), row)


def test_chunks_are_ranked_through_all_documents_and_ties_keep_their_order():
    """Numbers run on from document to document; blocks of queries change nothing."""
    east, north = [1, 0], [0, 1]
    vectors = [np.array([north, east], np.float32), np.array([east, north], np.float32)]
    queries = np.array([east, north, east], np.float32)
    expected = [[1, 2, 0], [0, 3, 1], [1, 2, 0]]

    assert expected == nearest(queries, vectors, 3).indexes.tolist()
    assert expected == nearest(queries, vectors, 3, block_bytes=1).indexes.tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"context_weight": 0.0},
        {"context_weight": 1.0, "neighbour_weight": 0.0},
        {"context_weight": 1.0, "neighbour_weight": 0.3},
        {"context_weight": 0.25, "window_tokens": 6, "overlap_tokens": 0},
        {"encoding": "float", "dimensions": 8, "normalize": True},
        {"encoding": "binary", "dimensions": 12},
        {"encoding": "ubinary"},
    ],
    ids=str,
)
def test_a_run_has_the_vectors_of_an_embedder(embedder, changes):
    """By value, whatever was read before; tokens are those that the embedder reads by itself."""
    shared = SharedVectors(embedder)
    corpus = cut(COLLECTION, sentences)
    shared.run(corpus)
    shared.run(corpus, replace(embedder.settings, context_weight=0.0))
    settings = replace(embedder.settings, **changes)
    run = shared.run(corpus, settings)
    alone = Embedder(FakeBackend(embedder.backend.spec), settings)
    expected = alone.embed_documents(corpus.texts)

    for rows, found in zip(expected, run.vectors, strict=True):
        assert rows.dtype == found.dtype
        if rows.dtype == np.float32:
            assert_allclose(found, rows, atol=1e-6)
        else:  # halves may be rounded either way where a mixture was made in another order
            assert np.abs(found.astype(int) - rows).max() <= (settings.encoding == "int8")
    assert run.tokens == alone.usage.tokens
    assert run.bytes_per_chunk == expected[0][0].nbytes
    assert run.hits.shape == (2, 8)


def test_each_text_is_read_once_for_settings_that_can_share_it():
    """Weights, neighbours, encodings and dimensions need no further reading, queries neither."""
    spec = ModelSpec(name="fake", dimensions=24, max_tokens=50, **UNTRAINED)
    backend = FakeBackend(spec)
    shared = SharedVectors(Embedder(backend, Settings(model="fake")))
    corpus = cut(COLLECTION, sentences)
    base = Settings(model="fake")
    runs = [shared.run(corpus, base)]
    read = len(backend.windows)
    runs += [
        shared.run(corpus, replace(base, **changes), search=search)
        for changes, search in [
            ({"context_weight": 0.0}, "nearest"),
            ({"context_weight": 0.0, "neighbour_weight": 0.5}, "nearest"),
            ({"context_weight": 0.9}, "nearest"),
            ({"window_tokens": 4}, "nearest"),
            ({"encoding": "ubinary", "dimensions": 8}, "nearest"),
            ({"encoding": "ubinary"}, "two_stage"),
            ({}, "two_stage"),
        ]
    ]

    assert read == len(backend.windows)
    assert [24, 24, 24, 24, 24, 1, 3, 24 + 3] == [run.bytes_per_chunk for run in runs]


def test_the_neighbours_of_finished_codes_cost_no_further_reading(embedder):
    """Also where a model gives codes only, the free way is free."""
    corpus = cut(COLLECTION, sentences)
    shared = SharedVectors(embedder)
    shared.run(corpus, replace(embedder.settings, context_weight=0.0))
    read = len(embedder.backend.windows)
    free = replace(embedder.settings, context_weight=0.0, neighbour_weight=0.5)
    run = shared.run(corpus, free)
    exact = Embedder(FakeBackend(embedder.backend.spec), free).embed_documents(corpus.texts)

    assert read == len(embedder.backend.windows)
    for rows, found in zip(exact, run.vectors, strict=True):
        assert (normalize(rows) * normalize(found)).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("encoding", ["int8", "binary", "ubinary"])
def test_two_stages_with_all_rows_as_candidates_rank_by_the_second(embedder, encoding):
    """Codes are scored again by themselves, bits by the whole query."""
    corpus = cut(COLLECTION, sentences)
    shared = SharedVectors(embedder)
    settings = replace(embedder.settings, encoding=encoding)
    run = shared.run(corpus, settings, search="two_stage")
    full = Embedder(FakeBackend(embedder.backend.spec), replace(settings, encoding="int8"))
    queries = full.embed_queries([query.text for query in corpus.queries])
    rows = np.concatenate(run.vectors)
    rows = unpack_bits(rows, 24) if encoding == "ubinary" else rows

    assert np.array_equal(nearest(queries, rows, 8).indexes, run.hits)


def test_a_cache_makes_the_time_unknown_and_tokens_stay(tmp_path):
    """A second evaluation reads nothing; what it would cost is said all the same."""
    spec = ModelSpec(name="fake", dimensions=24, max_tokens=50, **UNTRAINED)
    settings = Settings(model="fake", cache=str(tmp_path))
    corpus = cut(COLLECTION, sentences)
    found, windows = [], []
    for _ in range(2):
        backend = FakeBackend(spec)
        with Embedder(backend, settings) as embedder:
            found.append(SharedVectors(embedder).run(corpus))
            windows.append(len(backend.windows))

    assert (found[0].tokens, None) == (found[1].tokens, found[1].seconds)
    assert found[0].seconds is not None
    assert windows[1] == len(COLLECTION.queries)


def test_a_chunk_that_cannot_be_embedded_is_named_by_its_document(embedder):
    text = "a " * 60 + "b"
    query = Query("q", "b", {"long": ((0, len(text)),)})
    documents = (Document("long", "", text),)
    corpus = cut(replace(COLLECTION, documents=documents, queries=(query,)), whole)

    with pytest.raises(InputError, match="'long'"):
        SharedVectors(embedder).run(corpus)


def whole(document: Document) -> list[tuple[int, int]]:
    return [(0, len(document.text))]


def test_documents_are_ranked_by_their_best_chunk_where_labels_name_documents(embedder):
    """Nine documents before the last place may come with all their chunks."""
    corpus = cut(replace(COLLECTION, whole=True), sentences)
    run = Run(
        name="made",
        corpus=corpus,
        vectors=[],
        hits=np.array([[7, 6, 0, 5, 1, 4, 2, 3]] * 2),
        tokens=1,
        seconds=None,
        bytes_per_chunk=1,
    )

    assert depth(corpus) == 9 * 4 + 1
    assert [[2, 0, 1]] * 2 == ranking(run)
