"""What isn't adding is the inner store's own: every method of the interface, sync and async."""

from inspect import iscoroutinefunction
from unittest.mock import AsyncMock, MagicMock

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_ctxembed import ContextualVectorStore

OWN = {"from_texts", "from_documents", "as_retriever", "embeddings"}
ADDING = {"add_texts", "add_documents", "aadd_texts", "aadd_documents"}
METHODS = [
    name
    for name in vars(VectorStore)
    if not name.startswith("_") and name not in OWN | {f"a{own}" for own in OWN}
]
FOUND = Document(page_content="a", id="1")


@pytest.fixture
def spied(fake):
    """A store each of whose methods is a mock of its kind, and its wrapper."""
    embeddings, _ = fake()
    store = InMemoryVectorStore(embeddings)
    for name in METHODS:
        mock = AsyncMock if iscoroutinefunction(getattr(VectorStore, name)) else MagicMock
        setattr(store, name, mock(name=name, return_value=[(FOUND, 0.9)]))
    return store, ContextualVectorStore(store)


def called(store):
    return {name: m.call_args for name in METHODS if (m := getattr(store, name)).called}


@pytest.mark.parametrize("name", [m for m in METHODS if m not in ADDING])
async def test_a_call_goes_to_the_method_of_the_same_name_as_it_is(spied, name):
    store, wrapped = spied
    found = getattr(wrapped, name)("one", 2, filter={"x": 1}, k=3)
    result = await found if iscoroutinefunction(getattr(VectorStore, name)) else found
    assert result == [(FOUND, 0.9)]
    assert called(store) == {name: (("one", 2), {"filter": {"x": 1}, "k": 3})}


@pytest.mark.parametrize("twin", ["", "a"])
@pytest.mark.parametrize(
    ("search_type", "method"),
    [
        ("similarity", "similarity_search"),
        ("mmr", "max_marginal_relevance_search"),
        ("similarity_score_threshold", "similarity_search_with_relevance_scores"),
    ],
)
async def test_every_kind_of_retriever_searches_by_the_inner_stores_method(
    spied, search_type, method, twin
):
    store, wrapped = spied
    options = {"k": 3, "filter": {"x": 1}, "score_threshold": 0.5}
    retriever = wrapped.as_retriever(search_type=search_type, search_kwargs=options)
    given = retriever.invoke("words") if not twin else await retriever.ainvoke("words")
    assert called(store) == {twin + method: (("words",), options)}
    assert given == ([FOUND] if "score" in search_type else [(FOUND, 0.9)])


async def test_adding_reaches_add_documents_of_the_same_kind_with_all_its_options(fake):
    embeddings, _ = fake()

    class Recording(InMemoryVectorStore):
        def add_documents(self, documents, **options):
            seen.append(("sync", options))
            return super().add_documents(documents, ids=options["ids"])

        async def aadd_documents(self, documents, **options):
            seen.append(("async", options))
            return await super().aadd_documents(documents, ids=options["ids"])

    seen = []
    wrapped = ContextualVectorStore(Recording(embeddings))
    wrapped.add_documents([FOUND], ids=["1"], batch_size=7)
    wrapped.add_texts(["a"], ids=["1"], namespace="n")
    await wrapped.aadd_documents([FOUND], ids=["1"], batch_size=7)
    await wrapped.aadd_texts(["a"], ids=["1"], namespace="n")
    batch, named = {"ids": ["1"], "batch_size": 7}, {"ids": ["1"], "namespace": "n"}
    assert seen == [("sync", batch), ("sync", named), ("async", batch), ("async", named)]
