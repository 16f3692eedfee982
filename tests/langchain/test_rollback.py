"""A write that a store does not finish: what is new goes again, what was there before stays."""

import asyncio
import threading
from uuid import UUID

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from vector_stores import KINDS

from ctxembed import ConfigurationError
from langchain_ctxembed import ContextualVectorStore, context_key

IDS = [str(UUID(int=number)) for number in range(1, 11)]


@pytest.fixture(params=["memory", "chroma", "qdrant"])
def opened(request, embeddings, tmp_path):
    """A store and a function that returns its rows as (metadata, vector) pairs."""
    kind, packages = KINDS[request.param]
    for package in packages:
        pytest.importorskip(package)
    made = kind(tmp_path / "store")
    store = made.open(embeddings, aio=False)
    yield store, lambda: made.rows(store)
    made.close(store)


@pytest.fixture
def chunks(line_splitter, parents):
    return line_splitter().split_documents(parents[:2])


def half_written(store, error):
    """Let a store write half of what it gets, once, and raise the error then."""
    whole = type(store)

    class Half(whole):
        def add_documents(self, documents, ids=None, **options):
            self.__class__ = whole
            half = len(documents) // 2
            self.add_documents(documents[:half], ids=ids[:half], **options)
            raise error

    if issubclass(whole, InMemoryVectorStore):

        async def aadd_documents(self, documents, ids=None, **options):
            return self.add_documents(documents, ids=ids, **options)

        Half.aadd_documents = aadd_documents
    store.__class__ = Half


async def written(wrapped, chunks, *, aio, **options):
    if aio:
        return await wrapped.aadd_documents(chunks, **options)
    return wrapped.add_documents(chunks, **options)


@pytest.mark.parametrize("aio", [False, True])
async def test_new_rows_go_again_and_older_ones_stay(
    opened, registry, chunks, parents, truth, aio
):
    store, rows = opened
    wrapped = ContextualVectorStore(store, registry=registry)
    wrapped.add_documents(chunks[:5], ids=IDS[:5])
    half_written(store, OSError("disk full"))
    again = [*chunks[5:9], *chunks[:5], chunks[9]]
    ids = [*IDS[5:9], *IDS[:5], IDS[9]]
    with pytest.raises(OSError, match="disk full") as caught:
        await written(wrapped, again, aio=aio, ids=ids)
    truth.check(parents[:1], rows())
    (note,) = caught.value.__notes__
    assert "What it wrote of 5 new rows was deleted again." in note
    assert "may be half written: " + ", ".join(map(repr, IDS[:5])) in note
    await written(wrapped, again, aio=aio, ids=ids)
    truth.check(parents[:2], rows())


@pytest.mark.parametrize("aio", [False, True])
async def test_rows_without_ids_of_the_caller_go_again_too(opened, registry, chunks, aio):
    store, rows = opened
    wrapped = ContextualVectorStore(store, registry=registry)
    before = wrapped.add_documents(chunks[:5])
    half_written(store, OSError("disk full"))
    with pytest.raises(OSError, match="disk full") as caught:
        await written(wrapped, [*chunks[5:], *chunks[:5]], aio=aio)
    assert len(rows()) == 5
    assert len(wrapped.get_by_ids(before)) == 5
    assert caught.value.__notes__ == [
        "The write to the store was not finished. What it wrote of 10 new rows was deleted again."
    ]


@pytest.mark.parametrize("aio", [False, True])
async def test_a_broken_run_of_index_leaves_no_orphan(
    opened, registry, chunks, parents, truth, aio
):
    store, rows = opened
    wrapped = ContextualVectorStore(store, registry=registry)
    records = InMemoryRecordManager("chunks")
    records.create_schema()
    options = {"cleanup": "full", "source_id_key": "source_id", "key_encoder": context_key}

    async def run():
        if aio:
            return await aindex(chunks, records, wrapped, **options, batch_size=10)
        return index(chunks, records, wrapped, **options, batch_size=10)

    half_written(store, OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        await run()
    assert rows() == []
    assert (await run())["num_added"] == 10
    truth.check(parents[:2], rows())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_an_interruption_is_a_failed_write_too(memory, registry, chunks, error):
    wrapped = ContextualVectorStore(memory, registry=registry)
    wrapped.add_documents(chunks[:5], ids=IDS[:5])
    half_written(memory, error)
    with pytest.raises(type(error)):
        wrapped.add_documents(chunks[5:], ids=IDS[5:])
    assert [*memory.store] == IDS[:5]


async def test_a_cancelled_write_leaves_no_orphan(embeddings, registry, chunks):
    half = asyncio.Event()

    class Hangs(InMemoryVectorStore):
        async def aadd_documents(self, documents, ids=None, **options):
            await super().aadd_documents(documents[:3], ids[:3], **options)
            half.set()
            await asyncio.Event().wait()

    store = Hangs(embeddings)
    wrapped = ContextualVectorStore(store, registry=registry)
    write = asyncio.create_task(wrapped.aadd_documents(chunks[:5], ids=IDS[:5]))
    await half.wait()
    assert [*store.store] == IDS[:3]
    write.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await write
    assert store.store == {}
    assert "What it wrote of 5 new rows was deleted again." in caught.value.__notes__[0]


class InThreads(InMemoryVectorStore):
    """Has no async methods of its own, as most stores: LangChain runs the sync ones in threads."""

    aadd_documents = VectorStore.aadd_documents
    aadd_texts = VectorStore.aadd_texts

    def __init__(self, embedding):
        super().__init__(embedding)
        self.half, self.go_on = threading.Event(), threading.Event()

    def add_documents(self, documents, ids=None, **options):
        super().add_documents(documents[:3], ids[:3], **options)
        self.half.set()
        self.go_on.wait()
        return [*ids[:3], *super().add_documents(documents[3:], ids[3:], **options)]


async def test_a_cancelled_write_in_a_thread_is_waited_for(embeddings, registry, chunks):
    store = InThreads(embeddings)
    wrapped = ContextualVectorStore(store, registry=registry)
    write = asyncio.create_task(wrapped.aadd_documents(chunks[:5], ids=IDS[:5]))
    await asyncio.to_thread(store.half.wait)
    write.cancel()
    await asyncio.sleep(0)
    assert not write.done()
    store.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await write
    assert store.store == {}


# Stores that tell less


def cannot_tell(self, ids, /):
    raise NotImplementedError


def test_where_nobody_knows_what_is_new_nothing_is_deleted(embeddings, registry, chunks):
    store = type("Store", (InMemoryVectorStore,), {"get_by_ids": cannot_tell})(embeddings)
    wrapped = ContextualVectorStore(store, registry=registry)
    wrapped.add_documents(chunks[:5], ids=IDS[:5])
    half_written(store, OSError("disk full"))
    with pytest.raises(OSError, match="disk full") as caught:
        wrapped.add_documents(chunks, ids=IDS)
    assert [*store.store] == IDS[:5]
    (note,) = caught.value.__notes__
    assert "does not tell which rows were there before, so none was deleted" in note
    assert repr(IDS[9]) in note


@pytest.mark.parametrize(
    "spelled", [None, "".join, "another {}".format], ids=["not", "alike", "otherwise"]
)
def test_a_store_may_name_its_rows_in_a_way_of_its_own(embeddings, registry, chunks, spelled):
    class Store(InMemoryVectorStore):
        def get_by_ids(self, ids, /):
            found = super().get_by_ids(ids)
            return [Document(page_content="", id=spelled and spelled(row.id)) for row in found]

    store = Store(embeddings)
    wrapped = ContextualVectorStore(store, registry=registry)
    older = [IDS[1], IDS[6], IDS[7]]
    wrapped.add_documents([chunks[1], *chunks[6:8]], ids=older)
    half_written(store, OSError("disk full"))
    with pytest.raises(OSError, match="disk full") as caught:
        wrapped.add_documents(chunks, ids=IDS)
    assert [*store.store] == older
    assert f"may be half written: {', '.join(map(repr, older))}." in caught.value.__notes__[0]


def test_rows_that_cannot_be_deleted_are_named(embeddings, registry, chunks):
    class Keeps(InMemoryVectorStore):
        def delete(self, ids=None, **kwargs):
            return False

    store = Keeps(embeddings)
    half_written(store, OSError("disk full"))
    ids = [f"id {number}" for number in range(10)] + ["id 10"]
    with pytest.raises(OSError, match="disk full") as caught:
        ContextualVectorStore(store, registry=registry).add_documents(
            [*chunks, chunks[0]], ids=ids
        )
    (note,) = caught.value.__notes__
    assert "could not be deleted: delete them by hand, those that are there of 'id 0'" in note
    assert note.endswith("'id 9' and 1 more.")


@pytest.mark.parametrize("made_up_by", ["numbers", "auto_id"])
def test_no_ids_are_made_up_for_a_store_that_takes_no_strings(
    embeddings, registry, chunks, made_up_by
):
    class Numbers(InMemoryVectorStore):
        auto_id = made_up_by == "auto_id"

        def add_documents(self, documents, ids: list[int] | None = None, **options):
            assert ids is None
            super().add_documents(documents[:2], [1, 2], **options)
            raise OSError("disk full")

    wrapped = ContextualVectorStore(Numbers(embeddings), registry=registry)
    with pytest.raises(OSError, match="disk full") as caught:
        wrapped.add_documents(chunks)
    assert (
        "The chunks had no ids, so what it wrote cannot be found again."
        in (caught.value.__notes__[0])
    )


def test_a_store_that_drops_texts_loses_no_row_from_before(embeddings, registry, chunks):
    class DropsTheLast(InMemoryVectorStore):
        def add_documents(self, documents, ids=None, **options):
            return super().add_documents(documents[:-1], ids[:-1], **options)

    store = DropsTheLast(embeddings)
    InMemoryVectorStore.add_documents(store, [Document(page_content="mine")], [IDS[0]])
    with pytest.raises(ConfigurationError, match="were deleted again") as caught:
        ContextualVectorStore(store, registry=registry).add_documents(chunks[:5], ids=IDS[:5])
    assert [*store.store] == IDS[:1]
    assert f"may be half written: {IDS[0]!r}" in caught.value.__notes__[0]


def test_a_store_that_could_not_be_built_may_have_rows(embeddings, registry, chunks):
    class Fails(InMemoryVectorStore):
        @classmethod
        def from_texts(cls, texts, embedding, metadatas=None, *, ids=None, **options):
            raise OSError("disk full")

    options = {"store_cls": Fails, "registry": registry, "ids": [*IDS[:4], None]}
    with pytest.raises(OSError, match="disk full") as caught:
        ContextualVectorStore.from_documents(chunks[:5], embeddings, **options)
    (note,) = caught.value.__notes__
    assert "Its new rows could not be deleted" in note
    assert f"these may be half written: {IDS[0]!r}" in note


def test_a_store_that_spells_ids_anew_loses_no_row_from_before(embeddings, registry, chunks):
    """The store returns "a" for the row that the caller calls "A": it is no row of this call's."""

    class Lower(InMemoryVectorStore):
        drops = 0

        def add_documents(self, documents, ids=None, **options):
            kept = len(documents) - self.drops
            lower = [each.lower() for each in ids[:kept]]
            return super().add_documents(documents[:kept], lower, **options)

        def get_by_ids(self, ids, /):
            return super().get_by_ids([each.lower() for each in ids])

        def delete(self, ids=None, **options):
            super().delete([each.lower() for each in ids or ()], **options)

    store = Lower(embeddings)
    wrapped = ContextualVectorStore(store, registry=registry)
    wrapped.add_documents(chunks[:2], ids=["A", "B"])
    store.drops = 1
    with pytest.raises(ConfigurationError, match="were deleted again"):
        wrapped.add_documents(chunks[:5], ids=["A", "B", "C", "D", "E"])
    assert {*store.store} == {"a", "b"}
