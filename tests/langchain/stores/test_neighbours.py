"""Stores x filters: a hit's neighbours are found by each store's own filter."""

from inspect import iscoroutinefunction

import pytest
from langchain_core.documents import Document

from langchain_ctxembed import ContextualRetriever, ContextualVectorStore, stamp_context

LINES = [f"Line {number} of the story." for number in range(9)]


@pytest.fixture
def retriever(request, kind, embeddings, registry, closing):
    store = kind.open(embeddings, aio=iscoroutinefunction(request.function))
    closing(store)
    wrapped = ContextualVectorStore(store, registry=registry)
    return ContextualRetriever(vectorstore=wrapped, search_kwargs={"k": 1})


@pytest.fixture
def chunks(registry):
    return [
        chunk
        for source, texts in (("a", LINES), ("b", LINES[:3]), ("copy of a", LINES))
        for chunk in stamp_context(
            [Document(page_content=text) for text in texts], source_id=source, registry=registry
        )
    ]


def check(hit, found):
    index, size = int(hit.metadata["context_index"]), int(hit.metadata["context_size"])
    assert found.page_content.split("\n") == LINES[max(0, index - 1) : min(size, index + 2)]
    assert found.metadata["source_id"] == hit.metadata["source_id"]


def test_neighbours(retriever, chunks):
    retriever.vectorstore.add_documents(chunks)
    (hit,) = retriever.vectorstore.similarity_search("story", k=1)
    check(hit, *retriever.invoke("story"))


async def test_neighbours_in_async(retriever, chunks):
    await retriever.vectorstore.aadd_documents(chunks)
    (hit,) = await retriever.vectorstore.asimilarity_search("story", k=1)
    check(hit, *await retriever.ainvoke("story"))
