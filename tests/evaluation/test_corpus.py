"""Chunks by any splitter, and which of them answer a query."""

from dataclasses import replace

import pytest

from ctxembed.errors import InputError
from ctxembed.evaluation import Collection, Document, Query, cut

COLLECTION = Collection(
    name="tales",
    source="made here",
    documents=(Document("a", "A", "one one two"), Document("b", "", "three four")),
    queries=(
        Query("q", "?", {"a": ((4, 7),), "b": ((6, 10),)}),
        Query("r", "?", {"b": ((0, 5),)}),
    ),
)


def test_texts_are_found_in_order_and_may_overlap():
    """The second "one" is the second one; numbers run on; blank chunks are left out."""
    pieces = {"a": ["one", "one", "ne two", " "], "b": [(0, 5), (6, 10)]}
    corpus = cut(COLLECTION, lambda document: pieces[document.id])

    assert [(0, 3), (4, 7), (5, 11), (0, 5), (6, 10)] == corpus.places
    assert [["one", "one", "ne two"], ["three", "four"]] == corpus.texts
    assert [[1, 2, 4], [3]] == corpus.relevant
    assert ["A", "b"] == [document[0].title for document in corpus.documents]


def test_documents_without_chunks_and_queries_without_answers_are_left_out():
    corpus = cut(COLLECTION, lambda document: ["three"] if document.id == "b" else [])

    assert [["three"]] == corpus.texts
    assert (["r"], [[0]]) == ([query.id for query in corpus.queries], corpus.relevant)


@pytest.mark.parametrize("chunk", ["five", (4, 12), (-1, 2), (3, 2)])
def test_a_chunk_that_is_not_in_its_document_is_named(chunk):
    with pytest.raises(InputError, match=r"\('a'\), chunk 1: is not in the text") as caught:
        cut(COLLECTION, lambda _: ["one", chunk])

    assert "five" not in str(caught.value)


def test_answers_that_no_chunk_can_have_are_said():
    query = Query("q", "?", {"nowhere": ((0, 1),)})

    with pytest.raises(InputError, match="query 'q' has an answer in 'nowhere'"):
        cut(replace(COLLECTION, queries=(query,)), lambda _: [])
    with pytest.raises(InputError, match="no query has a chunk that answers it"):
        cut(COLLECTION, lambda _: [])
