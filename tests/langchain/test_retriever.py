"""`ContextualRetriever`: a hit with the chunks around it, out of the store that has them."""

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ctxembed import ConfigurationError
from langchain_ctxembed import (
    ContextualRetriever,
    ContextualTextSplitter,
    ContextualVectorStore,
    stamp_context,
)

LINES = [f"Line {number} of the story." for number in range(9)]


@pytest.fixture
def filled(embeddings, registry):
    """Return a wrapper whose search finds the chunks with the given places, the best first."""

    def fill(*places, store=None):
        wrapped = ContextualVectorStore(store or Searching(embeddings), registry=registry)
        for source, lines in (("a", LINES), ("b", LINES[:3]), ("copy of a", LINES)):
            pieces = [Document(page_content=text) for text in lines]
            stamped = stamp_context(
                pieces, source_id=source, embeddings=embeddings, registry=registry
            )
            wrapped.add_documents(stamped)
        wrapped.store.places = places
        return wrapped

    return fill


class Searching(InMemoryVectorStore):
    """Finds what it is told to find where it is asked for the best hits of a query."""

    places = ()

    def similarity_search(self, query, k=4, **options):
        rows = {
            (row["metadata"]["source_id"], row["metadata"]["context_index"]): row
            for row in self.store.values()
        }
        return [
            Document(
                id=rows[place]["id"],
                page_content=rows[place]["text"],
                metadata=rows[place]["metadata"],
            )
            for place in self.places
        ]

    async def asimilarity_search(self, query, k=4, **options):
        return self.similarity_search(query, k, **options)


def lines(first, last):
    return "\n".join(LINES[first : last + 1])


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize(
    ("n", "places", "expected"),
    [
        (0, [("a", 4)], [("a", 4, lines(4, 4))]),
        (1, [("a", 4)], [("a", 4, lines(3, 5))]),
        (2, [("a", 0), ("b", 2)], [("a", 0, lines(0, 2)), ("b", 2, lines(0, 2))]),
        (9, [("b", 1)], [("b", 1, lines(0, 2))]),
        (1, [("a", 5), ("b", 0), ("a", 3)], [("a", 5, lines(2, 6)), ("b", 0, lines(0, 1))]),
        (1, [("a", 1), ("a", 4)], [("a", 1, lines(0, 5))]),
        (1, [("a", 1), ("a", 5)], [("a", 1, lines(0, 2)), ("a", 5, lines(4, 6))]),
        (1, [("a", 7), ("a", 1), ("a", 4)], [("a", 7, lines(0, 8))]),
        (1, [("a", 4), ("copy of a", 5)], [("a", 4, lines(3, 5)), ("copy of a", 5, lines(4, 6))]),
    ],
)
async def test_a_hit_comes_with_its_neighbours_and_nothing_twice(
    filled, n, places, expected, sync
):
    retriever = ContextualRetriever(vectorstore=filled(*places), n=n)
    found = retriever.invoke("story") if sync else await retriever.ainvoke("story")
    assert [
        (each.metadata["source_id"], each.metadata["context_index"], each.page_content)
        for each in found
    ] == expected
    assert all(retriever.vectorstore.get_by_ids([each.id]) for each in found)


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("copies", [2, 5])
async def test_a_document_that_was_added_more_than_once_hides_no_neighbour(
    embeddings, registry, copies, sync
):
    """The nearest rows of the context are copies of a few chunks."""
    pieces = [Document(page_content=text) for text in LINES]
    chunks = stamp_context(pieces, source_id="a", embeddings=embeddings, registry=registry)
    wrapped = ContextualVectorStore(Searching(embeddings), registry=registry)
    for _ in range(copies):
        wrapped.add_documents(chunks)
    wrapped.store.places = [("a", 4)]
    retriever = ContextualRetriever(vectorstore=wrapped, n=2)
    (found,) = retriever.invoke(LINES[4]) if sync else await retriever.ainvoke(LINES[4])
    assert found.page_content == lines(2, 6)
    wrapped.delete([key for key, row in wrapped.store.store.items() if row["text"] == LINES[3]])
    (found,) = retriever.invoke(LINES[4]) if sync else await retriever.ainvoke(LINES[4])
    assert found.page_content == "\n".join([LINES[2], *LINES[4:7]])


def test_a_hit_without_a_context_comes_as_it_is(embeddings):
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings))
    wrapped.add_texts(["One.", "Two."])
    found = ContextualRetriever(vectorstore=wrapped).invoke("one")
    assert sorted(each.page_content for each in found) == ["One.", "Two."]


@pytest.mark.parametrize(
    ("add_start_index", "expected"),
    [(True, "one two three four five six"), (False, "one two three\nthree four\nfour five six")],
)
def test_what_chunks_share_is_there_once_where_their_places_are_known(
    embeddings, registry, add_start_index, expected
):
    overlapping = RecursiveCharacterTextSplitter(
        [" "], chunk_size=15, chunk_overlap=7, add_start_index=add_start_index
    )
    splitter = ContextualTextSplitter(overlapping, registry=registry)
    wrapped = ContextualVectorStore(
        InMemoryVectorStore(embeddings), splitter=splitter, registry=registry
    )
    wrapped.add_documents([Document(page_content="one two three four five six")])
    (found,) = ContextualRetriever(vectorstore=wrapped, n=2).invoke("four")
    assert found.page_content == expected


def test_pages_whose_places_begin_anew_lose_nothing(embeddings, registry):
    words = RecursiveCharacterTextSplitter(
        [" "], chunk_size=4, chunk_overlap=0, add_start_index=True
    )
    splitter = ContextualTextSplitter(words, context_by="source", registry=registry)
    wrapped = ContextualVectorStore(
        InMemoryVectorStore(embeddings), splitter=splitter, registry=registry
    )
    pages = [Document(page_content=text, metadata={"source": "s"}) for text in ("one two", "one")]
    wrapped.add_documents(pages)
    (found,) = ContextualRetriever(vectorstore=wrapped, n=2).invoke("one")
    assert found.page_content == "one two\none"


def test_a_store_that_does_not_filter_is_said(filled, embeddings):
    class Deaf(Searching):
        def similarity_search_by_vector(self, embedding, k=4, **options):
            return super().similarity_search_by_vector(embedding, k)

    wrapped = filled(("a", 4), store=Deaf(embeddings))
    retriever = ContextualRetriever(vectorstore=wrapped)
    with pytest.raises(ConfigurationError, match="did not filter by metadata"):
        retriever.invoke("story")


def test_a_filter_of_ones_own_is_asked(filled):
    asked = []

    def by_hand(same, first, last):
        asked.append((same["source_id"], first, last))
        return {"filter": lambda chunk: False}

    wrapped = filled(("a", 4))
    (found,) = ContextualRetriever(vectorstore=wrapped, context_filter=by_hand).invoke("story")
    assert found.page_content == LINES[4]
    assert asked == [("a", 3, 5)]


def test_a_negative_number_of_neighbours_is_refused(filled):
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        ContextualRetriever(vectorstore=filled(), n=-1)
