"""`ContextualVectorStore`: what it asks of a store, what it refuses, and what it leaves to it."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from ctxembed import (
    ConfigurationError,
    DocumentTooLongError,
    EmptyChunkError,
    InputError,
    ResponseError,
)
from ctxembed.testing import FakeBackend
from langchain_ctxembed import ContextRegistry, ContextualVectorStore, stamp_context


@pytest.fixture
def chunks(line_splitter, parents):
    return line_splitter().split_documents(parents)


@pytest.fixture
def wrapped(memory, registry):
    return ContextualVectorStore(memory, registry=registry)


def windows(backend):
    return [[chunk.text for chunk in window.chunks] for window in backend.windows]


# What is embedded, and how often


def test_documents_are_embedded_whole_and_once_though_they_come_in_slices(
    fake, registry, chunks, parents
):
    embeddings, backend = fake()
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    for start in range(0, len(chunks), 7):
        wrapped.add_documents(chunks[start : start + 7])
    assert windows(backend) == [parent.page_content.split("\n") for parent in parents]


def test_chunks_in_any_order_get_their_own_rows(wrapped, chunks, parents, truth, held):
    wrapped.add_documents(chunks[::-1])
    truth.check(parents, held(wrapped.store))


def test_the_same_document_twice_in_a_call_is_embedded_once(fake, registry, chunks, parents):
    embeddings, backend = fake()
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    wrapped.add_documents([*chunks[:5], *chunks[:5]])
    assert windows(backend) == [parents[0].page_content.split("\n")]
    assert len(wrapped.store.store) == 10


def test_metadata_goes_through_untouched(wrapped, chunks, held):
    before = [dict(chunk.metadata) for chunk in chunks]
    wrapped.add_documents(chunks)
    assert [chunk.metadata for chunk in chunks] == before
    assert [metadata for metadata, _ in held(wrapped.store)] == before


def test_add_texts_takes_any_iterable_and_metadata_with_contexts(
    wrapped, chunks, parents, truth, held
):
    texts = (chunk.page_content for chunk in chunks)
    ids = [f"id {number}" for number in range(len(chunks))]
    assert wrapped.add_texts(texts, [chunk.metadata for chunk in chunks], ids=ids) == ids
    truth.check(parents, held(wrapped.store))


async def test_aadd_texts_does_the_same(wrapped, chunks, parents, truth, held):
    texts = (chunk.page_content for chunk in chunks)
    await wrapped.aadd_texts(texts, [chunk.metadata for chunk in chunks])
    truth.check(parents, held(wrapped.store))


def test_a_wrong_number_of_metadatas_is_refused(wrapped):
    with pytest.raises(InputError, match="2 texts and 1 metadatas"):
        wrapped.add_texts(["a", "b"], [{}])


def test_one_string_is_no_list_of_texts(wrapped, embeddings):
    with pytest.raises(InputError, match="got one string"):
        wrapped.add_texts("private")
    with pytest.raises(InputError, match="got one string"):
        ContextualVectorStore.from_texts("a", embeddings, store_cls=InMemoryVectorStore)


# Documents without a context, or with half of one


def test_documents_without_a_context_are_embedded_alone(wrapped, embeddings, held, caplog):
    texts = ["It grew.", "It shrank."]
    wrapped.add_documents([Document(page_content=text) for text in texts])
    alone = [embeddings.embed_contexts([[text]])[0][0] for text in texts]
    assert np.allclose([vector for _, vector in held(wrapped.store)], alone, atol=0.02)
    wrapped.add_texts(["It paused."])
    (record,) = caplog.records
    assert record.getMessage().startswith("2 of 2 chunks came without a context and are embedded")


def test_documents_without_a_context_are_an_error_where_asked_for(memory, chunks):
    wrapped = ContextualVectorStore(memory, ungrouped="error")
    wrapped.add_documents(chunks[:5])
    with pytest.raises(InputError, match=r"Chunk 1 \('row'\): has no context_id"):
        wrapped.add_documents([chunks[0], Document(page_content="private", id="row")])
    assert len(memory.store) == 5


def test_half_a_document_that_nobody_knows_is_refused_before_the_store_is_touched(
    embeddings, chunks
):
    store = FailsWhenTouched(embeddings)
    wrapped = ContextualVectorStore(store, registry=ContextRegistry())
    with pytest.raises(InputError, match="the call has 2 of the 5 chunks") as caught:
        wrapped.add_documents([Document(page_content="alone"), *chunks[:2]])
    assert (caught.value.document, caught.value.key) == (1, "a")
    assert "Alpha" not in str(caught.value)


async def test_half_a_document_is_refused_in_async_too(embeddings, chunks):
    wrapped = ContextualVectorStore(FailsWhenTouched(embeddings), registry=ContextRegistry())
    with pytest.raises(InputError, match="the call has 2 of the 5 chunks"):
        await wrapped.aadd_documents(chunks[:2])


def test_a_registry_too_small_is_made_up_for_by_a_whole_document(
    memory, line_splitter, parents, truth, held
):
    small = ContextRegistry(max_bytes=500)
    chunks = line_splitter(registry=small).split_documents(parents)
    assert small.get(chunks[0].metadata["context_id"]) is None
    wrapped = ContextualVectorStore(memory, registry=small)
    wrapped.add_documents(chunks[:10])
    truth.check(parents[:2], held(memory))
    with pytest.raises(InputError, match="raise the max_bytes"):
        wrapped.add_documents(chunks[10:20])
    assert len(memory.store) == 10


@pytest.mark.parametrize("count", [3, 5])
def test_chunks_changed_after_splitting_are_refused_in_part_and_whole(
    embeddings, registry, chunks, count
):
    chunks[1].page_content = "Other terms."
    wrapped = ContextualVectorStore(FailsWhenTouched(embeddings), registry=registry)
    with pytest.raises(InputError, match="is not what its document was split into") as caught:
        wrapped.add_documents(chunks[:count])
    assert "Other" not in str(caught.value)


def test_chunks_changed_after_splitting_can_be_stamped_again(
    wrapped, registry, embeddings, chunks, held
):
    chunks[1].page_content = "Other terms."
    again = stamp_context(chunks[:5], source_id="a", registry=registry)
    assert again[0].metadata["context_id"] != chunks[0].metadata["context_id"]
    wrapped.add_documents(again[:2])
    wrapped.add_documents(again[2:])
    rows = embeddings.embed_contexts([[chunk.page_content for chunk in chunks[:5]]])[0]
    assert np.allclose([vector for _, vector in held(wrapped.store)], rows, atol=0.02)


def test_two_texts_for_one_place_are_refused(wrapped, chunks):
    twin = Document(page_content="private", metadata=chunks[0].metadata)
    with pytest.raises(InputError, match="another chunk of the call") as caught:
        wrapped.add_documents([*chunks[:5], twin])
    assert (caught.value.document, caught.value.key) == (5, "a")


@pytest.mark.parametrize(
    "metadata",
    [
        {"context_id": "x"},
        {"context_id": 7, "context_index": 0, "context_size": 1},
        {"context_id": "x", "context_index": "0", "context_size": 1},
        {"context_id": "x", "context_index": 1, "context_size": 1},
        {"context_id": "x", "context_index": -1, "context_size": 1},
    ],
)
def test_a_context_that_makes_no_sense_is_refused(wrapped, metadata):
    metadata |= {"source": "file"}
    with pytest.raises(InputError, match=r"Chunk 0 \('file'\): its context_i"):
        wrapped.add_documents([Document(page_content="a", metadata=metadata)])


def test_an_error_of_the_core_names_the_place_in_the_call(fake, registry):
    embeddings, _ = fake()
    wrapped = ContextualVectorStore(FailsWhenTouched(embeddings), registry=registry)
    good = stamp_context([Document(page_content="a"), Document(page_content="b")], source_id="x")
    with pytest.raises(EmptyChunkError) as caught:
        wrapped.add_documents([*good, Document(page_content="c"), Document(page_content=" ")])
    assert caught.value.document == 3


async def added(wrapped, chunks):
    wrapped.add_documents(chunks)


async def added_in_slices(wrapped, chunks):
    for start in range(0, len(chunks), 2):
        wrapped.add_documents(chunks[start : start + 2])


async def added_in_async(wrapped, chunks):
    await wrapped.aadd_documents(chunks)


async def built(wrapped, chunks):
    given = {"store_cls": InMemoryVectorStore, "registry": wrapped._registry}
    ContextualVectorStore.from_documents(chunks, wrapped.embeddings, **given)


async def built_in_async(wrapped, chunks):
    given = {"store_cls": InMemoryVectorStore, "registry": wrapped._registry}
    await ContextualVectorStore.afrom_documents(chunks, wrapped.embeddings, **given)


@pytest.mark.parametrize(
    ("way", "place"),
    [
        (added, "Chunk 4 ('big.txt')"),
        (added_in_slices, "Document ('big.txt'), chunk 1"),
        (added_in_async, "Chunk 4 ('big.txt')"),
        (built, "Chunk 4 ('big.txt')"),
        (built_in_async, "Chunk 4 ('big.txt')"),
    ],
)
async def test_a_chunk_too_long_is_named_with_its_source(fake, registry, way, place):
    embeddings, backend = fake()
    long = "word " * (backend.spec.max_tokens + 1)
    files = {"small.txt": ["a", "b", "c"], "big.txt": ["d", long, "e"]}
    chunks = [
        chunk
        for source, texts in files.items()
        for chunk in stamp_context(
            [Document(page_content=text) for text in texts], source_id=source, registry=registry
        )
    ]
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    with pytest.raises(DocumentTooLongError) as caught:
        await way(wrapped, chunks)
    assert str(caught.value).startswith(f"{place}: has 1001 tokens")
    assert (caught.value.chunk, caught.value.key) == (1, "big.txt")
    written = [entry["metadata"]["source_id"] for entry in wrapped.store.store.values()]
    assert "big.txt" not in written


@pytest.mark.parametrize(
    ("metadata", "id_", "name"),
    [
        ({"source_id": "given", "source": "file"}, "row", "given"),
        ({"source_id": "", "source": 7}, "row", "7"),
        ({}, "row", "row"),
        ({}, None, None),
    ],
)
def test_a_document_without_a_source_id_is_named_by_what_there_is(
    fake, registry, metadata, id_, name
):
    embeddings, _ = fake()
    wrapped = ContextualVectorStore(FailsWhenTouched(embeddings), registry=registry)
    with pytest.raises(EmptyChunkError) as caught:
        wrapped.add_documents([Document(page_content=" ", metadata=metadata, id=id_)])
    assert caught.value.key == name


def test_a_failed_batch_is_named_from_its_first_source_to_its_last(fake, registry, chunks):
    def fault(batch):
        raise ResponseError("no rows today")

    embeddings, _ = fake(FakeBackend(fault=fault))
    wrapped = ContextualVectorStore(FailsWhenTouched(embeddings), registry=registry)
    with pytest.raises(ResponseError, match="One of chunks 0 to 5") as caught:
        wrapped.add_documents(chunks[:10])
    assert caught.value.key == "a"
    assert caught.value.__notes__ == ["Their sources are 'a' to 'b'."]


def test_a_failing_model_leaves_the_store_alone(fake, chunks, registry):
    def fault(batch):
        raise ResponseError("no rows today")

    embeddings, _ = fake(FakeBackend(fault=fault))
    wrapped = ContextualVectorStore(FailsWhenTouched(embeddings), registry=registry)
    with pytest.raises(ResponseError):
        wrapped.add_documents(chunks[:5])


# Stores that can't be trusted


class FailsWhenTouched(InMemoryVectorStore):
    def add_documents(self, documents, ids=None, **kwargs):
        pytest.fail("the inner store was touched")

    async def aadd_documents(self, documents, ids=None, **kwargs):
        pytest.fail("the inner store was touched")


class Meddling(InMemoryVectorStore):
    """Embeds what `meddle` makes of the texts."""

    def add_documents(self, documents, ids=None, **kwargs):
        given = self.meddle([document.page_content for document in documents])
        vectors = self.vectors(given)
        documents = [Document(page_content=text) for text in given]
        return self.write(documents, vectors)

    async def aadd_documents(self, documents, ids=None, **kwargs):
        return self.add_documents(documents, ids, **kwargs)

    def vectors(self, texts):
        return self.embedding.embed_documents(texts)

    def write(self, documents, vectors):
        ids = [f"row {number}" for number in range(len(documents))]
        for id_, document, vector in zip(ids, documents, vectors, strict=True):
            self.store[id_] = {
                "id": id_,
                "vector": vector,
                "text": document.page_content,
                "metadata": {},
            }
        return ids


class DropsTheLast(Meddling):
    def meddle(self, texts):
        return texts[:-1]


class DropsRepeats(Meddling):
    def meddle(self, texts):
        return list(dict.fromkeys(texts))


class Reorders(Meddling):
    def meddle(self, texts):
        return texts[::-1]


class Changes(Meddling):
    def meddle(self, texts):
        return [text.lower() for text in texts]


class ChangesOneByOne(Changes):
    def vectors(self, texts):
        return [self.embedding.embed_documents([text])[0] for text in texts]


class EmbedsInThreads(Meddling):
    def meddle(self, texts):
        return texts

    def vectors(self, texts):
        with ThreadPoolExecutor(2) as pool:
            return [pool.submit(self.embedding.embed_documents, [t]).result()[0] for t in texts]


class EmbedsTwice(Meddling):
    def meddle(self, texts):
        return texts

    def vectors(self, texts):
        self.embedding.embed_documents(texts)
        return self.embedding.embed_documents(texts)


MEDDLING = [
    DropsTheLast,
    DropsRepeats,
    Reorders,
    Changes,
    ChangesOneByOne,
    EmbedsInThreads,
    EmbedsTwice,
]


@pytest.mark.parametrize("cls", MEDDLING)
def test_a_store_that_meddles_is_found_out_and_keeps_no_row(fake, registry, chunks, cls):
    embeddings, _ = fake()
    store = cls(embeddings)
    with pytest.raises(ConfigurationError, match="this store cannot be wrapped") as caught:
        ContextualVectorStore(store, registry=registry).add_documents(chunks)
    assert store.store == {}
    assert "Alpha" not in str(caught.value)


@pytest.mark.parametrize("cls", MEDDLING)
async def test_a_store_that_meddles_is_found_out_in_async_too(fake, registry, chunks, cls):
    embeddings, _ = fake()
    store = cls(embeddings)
    with pytest.raises(ConfigurationError, match="this store cannot be wrapped"):
        await ContextualVectorStore(store, registry=registry).aadd_documents(chunks)
    assert store.store == {}


@pytest.mark.parametrize("cls", MEDDLING)
def test_from_documents_finds_out_too(fake, registry, chunks, cls):
    embeddings, _ = fake()
    with pytest.raises(ConfigurationError, match="this store cannot be wrapped"):
        ContextualVectorStore.from_documents(chunks, embeddings, store_cls=cls, registry=registry)


def test_a_text_of_the_call_is_no_probe(fake, registry, chunks):
    class OneByOneFromTheEnd(Reorders):
        given: ClassVar[list] = []

        def vectors(self, texts):
            for text in texts:
                self.given.extend(self.embedding.embed_documents([text]))
            return self.given

    embeddings, _ = fake()
    with pytest.raises(ConfigurationError, match="this store cannot be wrapped"):
        ContextualVectorStore.from_documents(
            chunks, embeddings, store_cls=OneByOneFromTheEnd, registry=registry
        )
    assert OneByOneFromTheEnd.given == []


def test_it_says_where_rows_could_not_be_taken_back(fake, registry, chunks):
    class NoDelete(DropsTheLast):
        def delete(self, ids=None, **kwargs):
            raise NotImplementedError

    embeddings, _ = fake()
    wrapped = ContextualVectorStore(NoDelete(embeddings), registry=registry)
    with pytest.raises(ConfigurationError, match="could not be deleted: delete them by hand"):
        wrapped.add_documents(chunks)


def test_a_probe_while_a_store_is_built_takes_nobodys_row(
    embeddings, registry, chunks, parents, truth, held
):
    class Probes(InMemoryVectorStore):
        @classmethod
        def from_texts(cls, texts, embedding, metadatas=None, **kwargs):
            assert len(embedding.embed_documents(["dummy_text"])[0]) == 64
            return super().from_texts(texts, embedding, metadatas, **kwargs)

    built = ContextualVectorStore.from_documents(
        chunks, embeddings, store_cls=Probes, registry=registry
    )
    truth.check(parents, held(built.store))


def test_a_failed_write_of_the_store_comes_out_as_it_is(embeddings, registry, chunks):
    class Fails(InMemoryVectorStore):
        def add_documents(self, documents, ids=None, **kwargs):
            self.embedding.embed_documents([d.page_content for d in documents])
            raise OSError("disk full")

    wrapped = ContextualVectorStore(Fails(embeddings), registry=registry)
    with pytest.raises(OSError, match="disk full"):
        wrapped.add_documents(chunks)
    assert len(embeddings.embed_documents(["a call of its own"])) == 1


# What it may be built on


def test_other_embeddings_are_refused():
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=4))
    with pytest.raises(ConfigurationError, match="InMemoryVectorStore embeds with Determ"):
        ContextualVectorStore(store)
    with pytest.raises(ConfigurationError, match="got Determ"):
        ContextualVectorStore.from_texts(["a"], store.embeddings, store_cls=InMemoryVectorStore)


def test_a_cache_by_text_is_refused(embeddings):
    cache = pytest.importorskip("langchain_classic.embeddings", reason="its cache is meant here")
    stores = pytest.importorskip("langchain_core.stores")
    cached = cache.CacheBackedEmbeddings.from_bytes_store(
        embeddings, stores.InMemoryByteStore(), namespace="x", key_encoder="blake2b"
    )
    with pytest.raises(ConfigurationError, match="equal texts for equal vectors"):
        ContextualVectorStore(InMemoryVectorStore(cached))


def test_two_objects_with_other_settings_are_refused(embeddings):
    shorter = embeddings.model_copy(update={"dimensions": 8})
    with pytest.raises(ConfigurationError, match="different settings"):
        ContextualVectorStore(InMemoryVectorStore(embeddings), shorter)
    equal = embeddings.model_copy()
    assert ContextualVectorStore(InMemoryVectorStore(embeddings), equal).embeddings is embeddings


def test_a_store_that_does_not_tell_what_it_embeds_with(
    embeddings, registry, chunks, parents, truth, held
):
    class Silent(InMemoryVectorStore):
        embeddings = None

    with pytest.raises(ConfigurationError, match="embeds with NoneType"):
        ContextualVectorStore(Silent(embeddings))
    wrapped = ContextualVectorStore(Silent(embeddings), embeddings, registry=registry)
    wrapped.add_documents(chunks)
    truth.check(parents, held(wrapped.store))
    other = Silent(embeddings.model_copy(update={"dimensions": 8}))
    with pytest.raises(ConfigurationError, match="different settings"):
        ContextualVectorStore(other, embeddings, registry=registry).add_documents(chunks)
    assert other.store == {}


def test_from_documents_asks_which_store(embeddings):
    with pytest.raises(ConfigurationError, match="store_cls="):
        ContextualVectorStore.from_documents([], embeddings)


async def test_a_builder_that_knows_no_ids_is_given_none(
    embeddings, registry, chunks, held, truth, parents
):
    class Strict(InMemoryVectorStore):
        def __init__(self, embedding, *, name):
            super().__init__(embedding)

        @classmethod
        def from_texts(cls, texts, embedding, metadatas=None, **for_the_constructor):
            store = cls(embedding, **for_the_constructor)
            store.add_texts(texts, metadatas)
            return store

        @classmethod
        async def afrom_texts(cls, texts, embedding, metadatas=None, **for_the_constructor):
            return cls.from_texts(texts, embedding, metadatas, **for_the_constructor)

    options = {"store_cls": Strict, "registry": registry, "name": "chunks"}
    built = ContextualVectorStore.from_documents(chunks, embeddings, **options)
    truth.check(parents, held(built.store))
    built = await ContextualVectorStore.afrom_documents(chunks, embeddings, **options)
    truth.check(parents, held(built.store))


async def test_a_store_whose_ids_are_numbers_makes_them_up_itself(
    embeddings, registry, chunks, held, truth, parents
):
    class Numbered(InMemoryVectorStore):
        """Takes ids as USearch declares them."""

        def add_texts(
            self, texts, metadatas=None, ids: np.ndarray | list[str] | None = None, **options
        ):
            first = len(self.store)
            ids = range(first, first + len(texts)) if ids is None else [*map(int, ids)]
            named = [*map(str, ids)]
            super().add_documents(
                [
                    Document(page_content=text, metadata=metadata)
                    for text, metadata in zip(texts, metadatas, strict=True)
                ],
                ids=named,
            )
            return named

        add_documents = VectorStore.add_documents

        @classmethod
        def from_texts(
            cls,
            texts,
            embedding,
            metadatas=None,
            ids: np.ndarray | list[str] | None = None,
            **options,
        ):
            store = cls(embedding)
            store.add_texts(texts, metadatas, ids)
            return store

    options = {"store_cls": Numbered, "registry": registry}
    built = ContextualVectorStore.from_documents(chunks[:5], embeddings, **options)
    assert built.add_documents(chunks[5:]) == [str(n) for n in range(5, len(chunks))]
    truth.check(parents, held(built.store))


def test_from_documents_takes_ids_and_contexts(embeddings, registry, chunks):
    ids = [f"id {number}" for number in range(5)]
    built = ContextualVectorStore.from_documents(
        chunks[:5], embeddings, ids=ids, store_cls=InMemoryVectorStore, registry=registry
    )
    assert list(built.store.store) == ids
    assert isinstance(built, ContextualVectorStore)


# What is the inner store's


def test_every_search_is_the_inner_stores(wrapped, chunks, embeddings):
    wrapped.add_documents(chunks[:10])
    query, store = "What grew?", wrapped.store
    vector = embeddings.embed_query(query)
    assert wrapped.similarity_search(query, k=2) == store.similarity_search(query, k=2)
    assert wrapped.similarity_search_with_score(query) == store.similarity_search_with_score(query)
    assert wrapped.similarity_search_by_vector(vector) == store.similarity_search_by_vector(vector)
    assert wrapped.max_marginal_relevance_search(query) == store.max_marginal_relevance_search(
        query
    )
    assert wrapped.search(query, "mmr", k=3) == store.search(query, "mmr", k=3)
    only_b = {"filter": lambda document: document.metadata["source"] == "b"}
    found = wrapped.similarity_search(query, k=9, **only_b)
    assert {chunk.metadata["source"] for chunk in found} == {"b"}
    with pytest.raises(NotImplementedError):  # the in-memory store has no relevance scores
        wrapped.similarity_search_with_relevance_scores(query)


async def test_every_async_search_is_the_inner_stores(wrapped, chunks):
    wrapped.add_documents(chunks[:10])
    query, store = "What grew?", wrapped.store
    assert await wrapped.asimilarity_search(query) == store.similarity_search(query)
    assert await wrapped.asearch(query, "similarity", k=3) == store.similarity_search(query, k=3)
    mmr = await wrapped.amax_marginal_relevance_search(query, k=3)
    assert mmr == store.max_marginal_relevance_search(query, k=3)
    scored = await wrapped.asimilarity_search_with_score(query)
    assert scored == store.similarity_search_with_score(query)


@pytest.mark.parametrize("ids", [[*"12"], [*"1234"]], ids=len)
async def test_ids_are_one_per_chunk_before_anything_is_embedded(
    wrapped, chunks, embeddings, registry, ids
):
    given, build, before = chunks[:3], ContextualVectorStore, embeddings.embedder.usage
    options = {"ids": ids, "store_cls": InMemoryVectorStore, "registry": registry}
    said = f"got {len(ids)} ids for 3 chunks"
    with pytest.raises(InputError, match=said):
        wrapped.add_documents(given, ids=ids)
    with pytest.raises(InputError, match=said):
        await wrapped.aadd_documents(given, ids=ids)
    with pytest.raises(InputError, match=said):
        build.from_documents(given, embeddings, **options)
    with pytest.raises(InputError, match=said):
        await build.afrom_documents(given, embeddings, **options)
    assert embeddings.embedder.usage == before
    assert wrapped.store.store == {}


def test_no_method_of_the_interface_is_left_to_its_default():
    own = {"add_documents", "add_texts", "from_documents", "from_texts", "embeddings"}
    kept = {"as_retriever"}  # built on those above
    for name in (name for name in vars(VectorStore) if not name.startswith("_")):
        if name.removeprefix("a") in kept or name in kept:
            continue
        found = inspect.getattr_static(ContextualVectorStore, name)
        forwarded = type(found).__name__ == "_Forwarded"
        mine = name in own or name.removeprefix("a") in own
        assert found is not vars(VectorStore)[name], name
        assert forwarded != mine, name


def test_a_retriever_searches_and_adds_with_context(wrapped, chunks, parents, truth, held):
    retriever = wrapped.as_retriever(search_kwargs={"k": 1})
    retriever.add_documents(chunks)
    truth.check(parents, held(wrapped.store))
    assert len(retriever.invoke("What grew?")) == 1
    assert retriever.tags == ["ContextualVectorStore", "ContextualEmbeddings"]


def test_delete_and_get_by_ids_are_the_inner_stores(wrapped, chunks):
    ids = wrapped.add_documents(chunks[:5])
    assert [found.id for found in wrapped.get_by_ids(ids[:2])] == ids[:2]
    wrapped.delete(ids[:4])
    assert list(wrapped.store.store) == ids[4:]


def test_other_public_methods_are_the_inner_stores_unless_they_embed(embeddings, tmp_path):
    class Other(InMemoryVectorStore):
        _private = "its own business"

        def compact(self):
            return "compacted"

        def add_embeddings(self, pairs):
            return "added"

        additions = aggregates = compact

    wrapped = ContextualVectorStore(Other(embeddings))
    assert wrapped.compact() == wrapped.additions() == wrapped.aggregates() == "compacted"
    assert wrapped.add_embeddings([]) == "added"
    with pytest.raises(AttributeError):
        _ = wrapped._private
    with pytest.raises(AttributeError):
        _ = wrapped.nothing_like_it


@pytest.mark.parametrize(
    "name",
    ["add_images", "aadd_images", "update_documents", "aupdate_document", "upsert", "aupsert"],
)
def test_what_would_embed_without_context_is_not_passed_on(embeddings, name):
    cls = type("Other", (InMemoryVectorStore,), {name: lambda *_: pytest.fail("was called")})
    wrapped = ContextualVectorStore(cls(embeddings))
    assert not hasattr(wrapped, name)
    with pytest.raises(AttributeError, match=rf"Hint: add_documents, or \.store\.{name}"):
        getattr(wrapped, name)
