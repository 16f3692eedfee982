"""LangChain's own retrievers and creators over the wrapper, by value."""

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from langchain_ctxembed import ContextualVectorStore

pytest.importorskip("langchain_classic")

LINES = ["The king fell ill.", "He sent for his sons.", "They came.", "He sent for his sons."]


def page(source, lines):
    return Document(page_content="\n".join(lines), metadata={"source": source})


@pytest.fixture
def wrapped(embeddings, registry):
    return ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)


def vectors_of(store):
    return [(row["text"], row["vector"]) for row in store.store.store.values()]


def check(found, embeddings, documents):
    """Compare texts and vectors with those of documents that are embedded whole."""
    expected = zip(
        (text for texts in documents for text in texts),
        (row for rows in embeddings.embed_contexts(documents) for row in rows),
        strict=True,
    )
    for (text, vector), (expected_text, row) in zip(found, expected, strict=True):
        assert text == expected_text
        assert np.allclose(vector, row, atol=0.02)


@pytest.mark.parametrize("sync", [True, False])
async def test_children_of_a_parent_are_siblings(wrapped, embeddings, line_splitter, sync):
    from langchain_classic.retrievers import ParentDocumentRetriever

    retriever = ParentDocumentRetriever(
        vectorstore=wrapped, docstore=InMemoryStore(), child_splitter=line_splitter()
    )
    parents = [page("a", LINES), page("b", LINES[1:3])]
    if sync:
        retriever.add_documents(parents)
    else:
        await retriever.aadd_documents(parents)
    check(vectors_of(wrapped), embeddings, [LINES, LINES[1:3]])
    assert retriever.invoke("sons")[0].metadata["source"] in {"a", "b"}


@pytest.mark.parametrize("contextual", [True, False])
def test_parents_that_were_split_are_documents_of_their_own(
    wrapped, embeddings, line_splitter, contextual, registry
):
    from langchain_classic.retrievers import ParentDocumentRetriever

    pair = RecursiveCharacterTextSplitter(
        ["\n"], keep_separator=False, chunk_size=41, chunk_overlap=0
    )
    parent_splitter = type(line_splitter())(pair, registry=registry) if contextual else pair
    retriever = ParentDocumentRetriever(
        vectorstore=wrapped,
        docstore=InMemoryStore(),
        child_splitter=line_splitter(),
        parent_splitter=parent_splitter,
    )
    retriever.add_documents([page("a", LINES)])
    check(vectors_of(wrapped), embeddings, [LINES[:2], LINES[2:]])


def test_an_index_creator_takes_splitter_and_store(embeddings, line_splitter, registry):
    from langchain_classic.indexes.vectorstore import VectorstoreIndexCreator

    creator = VectorstoreIndexCreator(
        vectorstore_cls=ContextualVectorStore,
        embedding=embeddings,
        text_splitter=line_splitter(embeddings=embeddings),
        vectorstore_kwargs={"store_cls": InMemoryVectorStore, "registry": registry},
    )
    built = creator.from_documents([page("a", LINES)])
    check(vectors_of(built.vectorstore), embeddings, [LINES])
