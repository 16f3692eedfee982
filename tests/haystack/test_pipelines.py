"""Whole pipelines over the store that Haystack brings: index, query, change, from YAML too."""

import logging

import pytest
from haystack import Document, Pipeline
from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
    ContextualTextEmbedder,
)


def indexing(store, tiny, **keys):
    pipeline = Pipeline()
    embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False, **keys)
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("writer", ContextualDocumentWriter(store, **keys))
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


def splitting(store, tiny, **keys):
    pipeline = indexing(store, tiny, **keys)
    pipeline.add_component("splitter", DocumentSplitter(split_by="period", split_length=1))
    pipeline.connect("splitter.documents", "embedder.documents")
    return pipeline


def querying(store, tiny, **options):
    pipeline = Pipeline()
    pipeline.add_component("embedder", ContextualTextEmbedder(**tiny))
    retriever = InMemoryEmbeddingRetriever(store, return_embedding=True, **options)
    pipeline.add_component("retriever", retriever)
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


def best(query, rows, count=3):
    scores = {name: sum(a * b for a, b in zip(query, row, strict=True)) for name, row in rows}
    return sorted(scores, key=scores.get, reverse=True)[:count]


@pytest.mark.parametrize("similarity", ["dot_product", "cosine"])
async def test_indexed_vectors_are_right_and_found(call, tiny, chunks, right, vectors, similarity):
    store = InMemoryDocumentStore(embedding_similarity_function=similarity)
    indexed = await call(indexing(store, tiny), {"embedder": {"documents": chunks}})
    assert indexed["writer"] == {
        "documents_written": len(chunks),
        "documents_deleted": 0,
        "skipped": [],
    }
    assert len(store.filter_documents()) == len(chunks)
    assert right(store.filter_documents())
    alone = Document(content="Terms apply.")
    await call(indexing(store, tiny), {"embedder": {"documents": [alone]}})
    (note,) = store.filter_documents({"field": "id", "operator": "==", "value": alone.id})
    assert note.embedding == vectors(["Terms apply."])[0]
    store.delete_documents([alone.id])
    query = "Who repairs the roof?"
    found = await call(querying(store, tiny, top_k=3), {"embedder": {"text": query}})
    documents = found["retriever"]["documents"]
    (wanted,) = vectors([query])
    expected = best(wanted, [(d.id, d.embedding) for d in store.filter_documents()])
    assert [document.id for document in documents] == expected
    assert right(documents)


@pytest.mark.parametrize("similarity", ["dot_product", "cosine"])
def test_scaled_scores_keep_the_order(tiny, chunks, similarity):
    store = InMemoryDocumentStore(embedding_similarity_function=similarity)
    indexing(store, tiny).run({"embedder": {"documents": chunks}})
    orders = [
        [
            document.id
            for document in querying(store, tiny, scale_score=scale, top_k=9).run(
                {"embedder": {"text": "Who pays?"}}
            )["retriever"]["documents"]
        ]
        for scale in (False, True)
    ]
    assert orders[0] == orders[1]


async def test_pipelines_from_yaml_do_the_same(call, tiny, chunks, right):
    store = InMemoryDocumentStore(index="from-yaml", shared=True)
    first = Pipeline.loads(indexing(store, tiny).dumps())
    second = Pipeline.loads(querying(store, tiny).dumps())
    await call(first, {"embedder": {"documents": chunks}})
    loaded = first.get_component("writer").document_store
    assert right(loaded.filter_documents())
    found = await call(second, {"embedder": {"text": "Who fell ill?"}})
    assert right(found["retriever"]["documents"])


BEFORE = "One king. Three sons. They ride out. They come home."
AFTER = "One king. A queen and three sons. They ride out. They come home."


def sentences(text):
    return [part + "." for part in text.split(".") if part]


@pytest.mark.parametrize(
    ("keys", "source"),
    [
        ({}, {"id": "tale.md"}),
        ({"source_key": "file_path"}, {"meta": {"file_path": "docs/tale.md"}}),
    ],
)
async def test_a_changed_source_leaves_exactly_its_new_chunks(call, tiny, vectors, keys, source):
    store = InMemoryDocumentStore()
    pipeline = splitting(store, tiny, **keys)
    other = Document(content="One law. Two rules.", id="law.md", meta={"file_path": "docs/law.md"})
    for text in (BEFORE, AFTER):
        documents = [other, Document(content=text, **source)]
        await call(pipeline, {"splitter": {"documents": documents}})
    stored = {d.content: d.embedding for d in store.filter_documents()}
    expected = {}
    for text in (AFTER, other.content):
        expected |= zip(sentences(text), vectors(sentences(text)), strict=True)
    assert stored == expected
    assert store.count_documents() == len(expected)


async def test_a_source_that_shrinks_or_grows_leaves_exactly_its_new_chunks(call, tiny, vectors):
    store = InMemoryDocumentStore()
    pipeline = splitting(store, tiny)
    for text in (BEFORE, "One king.", AFTER + " They feast."):
        document = Document(id="tale.md", content=text)
        await call(pipeline, {"splitter": {"documents": [document]}})
        stored = {d.meta["split_id"]: d.embedding for d in store.filter_documents()}
        assert stored == dict(enumerate(vectors(sentences(text))))


def test_sources_cut_over_two_calls_are_refused_by_the_writer(tiny, chunks):
    store = InMemoryDocumentStore()
    pipeline = indexing(store, tiny)
    of_tale = sorted(
        (chunk for chunk in chunks if chunk.meta["source_id"] == "tale"),
        key=lambda chunk: chunk.meta["split_id"],
    )
    with pytest.raises(Exception, match="split_id 0 is missing"):
        pipeline.run({"embedder": {"documents": of_tale[2:]}})
    assert not store.filter_documents()


async def test_an_empty_chunk_is_said_and_not_stored(call, tiny, chunks, right, caplog):
    store = InMemoryDocumentStore()
    empty = Document(content="", meta={"source_id": "blank.md", "split_id": 0})
    with caplog.at_level(logging.WARNING):
        found = await call(indexing(store, tiny), {"embedder": {"documents": [*chunks, empty]}})
    assert found["writer"]["documents_written"] == len(chunks)
    assert right(store.filter_documents())
    (record,) = caplog.records
    assert record.getMessage().startswith("Chunks without text: 1, of 'blank.md'. ")


@pytest.mark.parametrize("similarity", ["dot_product", "cosine"])
def test_chunks_without_text_rank_below_what_is_alike(tiny, similarity):
    """Splitters give such chunks: a line break at the end of a file, an empty page."""
    store = InMemoryDocumentStore(embedding_similarity_function=similarity)
    pipeline = splitting(store, tiny | {"empty": "zero"})
    pipeline.run({"splitter": {"documents": [Document(id="tale.md", content=BEFORE + "\n")]}})
    assert store.count_documents() == 5
    found = querying(store, tiny, top_k=5).run({"embedder": {"text": "One king."}})
    scores = {document.content: document.score for document in found["retriever"]["documents"]}
    assert scores["\n"] == 0
    assert scores["One king."] > 0


@pytest.mark.parametrize("keep_id", [True, False])
def test_a_cleaner_keeps_ids_only_on_request(tiny, keep_id):
    store = InMemoryDocumentStore()
    pipeline = splitting(store, tiny)
    pipeline.add_component("cleaner", DocumentCleaner(keep_id=keep_id))
    pipeline.connect("cleaner.documents", "splitter.documents")
    for text in (BEFORE, AFTER):
        document = Document(id="tale.md", content=text + "\n")
        pipeline.run({"cleaner": {"documents": [document]}})
    assert store.count_documents() == (4 if keep_id else 8)
