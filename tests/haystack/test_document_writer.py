"""What the writer checks, writes and deletes, and what a failure leaves behind."""

import asyncio
import logging
from dataclasses import replace

import pytest
from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy

from ctxembed import InputError
from ctxembed.errors import ConfigurationError
from haystack_integrations.components.embedders.ctxembed import ContextualDocumentWriter


def rows(source, *texts, start=0):
    return [
        Document(
            content=text,
            meta={"source_id": source, "split_id": place},
            embedding=[float(place), 1.0],
        )
        for place, text in enumerate(texts, start)
    ]


def contents(store):
    return sorted((d.meta.get("source_id", ""), d.content) for d in store.filter_documents())


class Plain:
    """A store of the protocol's methods only: no async twins; can be told to fail."""

    def __init__(self):
        self.store = InMemoryDocumentStore()
        self.calls = []
        self.fail_after = None
        self.fail_delete = False

    def filter_documents(self, filters=None):
        self.calls.append(("filter", filters))
        return self.store.filter_documents(filters)

    def write_documents(self, documents, policy=DuplicatePolicy.NONE):
        self.calls.append(("write", policy))
        if self.fail_after is not None:
            self.store.write_documents(documents[: self.fail_after], policy)
            raise ConnectionError("gone")
        return self.store.write_documents(documents, policy)

    def delete_documents(self, document_ids):
        self.calls.append(("delete", document_ids))
        if self.fail_delete:
            self.store.delete_documents(document_ids[:1])
            raise ConnectionError("gone")
        self.store.delete_documents(document_ids)


@pytest.fixture(params=[InMemoryDocumentStore, Plain])
def store(request):
    return request.param()


async def test_a_changed_source_replaces_the_former_one_and_no_other(call, store):
    writer = ContextualDocumentWriter(store)
    first = [*rows("a", "a1", "a2", "a3"), *rows("b", "b1", "b2")]
    assert await call(writer, documents=first) == {
        "documents_written": 5,
        "documents_deleted": 0,
        "skipped": [],
    }
    changed = rows("a", "a1", "changed")
    assert await call(writer, documents=changed[::-1]) == {
        "documents_written": 2,
        "documents_deleted": 2,
        "skipped": [],
    }
    assert contents(store) == [("a", "a1"), ("a", "changed"), ("b", "b1"), ("b", "b2")]


async def test_many_sources_are_replaced_in_one_call(call, store):
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=[*rows("a", "1", "2"), *rows("b", "1", "2"), *rows("c", "1")])
    found = await call(writer, documents=[*rows("a", "new"), *rows("b", "1", "new")])
    assert found == {"documents_written": 3, "documents_deleted": 3, "skipped": []}
    assert contents(store) == [("a", "new"), ("b", "1"), ("b", "new"), ("c", "1")]


async def test_writing_the_same_again_changes_nothing(call, store):
    writer = ContextualDocumentWriter(store)
    given = rows("a", "1", "2")
    await call(writer, documents=given)
    assert await call(writer, documents=given) == {
        "documents_written": 2,
        "documents_deleted": 0,
        "skipped": [],
    }
    assert store.filter_documents() == given


async def test_equal_ids_take_the_new_vectors(call, store):
    writer = ContextualDocumentWriter(store)
    meta = {"source_id": "a", "split_id": 0}
    for vector in ([1.0], [2.0]):
        given = Document(id="x", content="same", meta=meta, embedding=vector)
        await call(writer, documents=[given])
    assert [document.embedding for document in store.filter_documents()] == [[2.0]]


async def test_a_chunk_that_moves_to_another_source_stays(call, store):
    writer = ContextualDocumentWriter(store)

    def chunk(identity, source, place):
        meta = {"source_id": source, "split_id": place}
        return Document(id=identity, content=identity, meta=meta, embedding=[1.0])

    await call(writer, documents=[chunk("1", "a", 0), chunk("2", "a", 1), chunk("3", "b", 0)])
    await call(writer, documents=[chunk("1", "a", 0), chunk("3", "b", 0), chunk("2", "b", 1)])
    assert contents(store) == [("a", "1"), ("b", "2"), ("b", "3")]


async def test_a_write_that_fails_half_way_leaves_the_source_whole(call):
    store = Plain()
    writer = ContextualDocumentWriter(store)
    former = rows("a", "1", "2", "3")
    await call(writer, documents=former)
    store.fail_after = 2
    changed = rows("a", "one", "two", "3", "four")
    with pytest.raises(ConnectionError):
        await call(writer, documents=changed)
    left = {document.id for document in store.filter_documents()}
    assert {document.id for document in former} <= left
    store.fail_after = None
    await call(writer, documents=changed)
    assert sorted(d.content for d in store.filter_documents()) == ["3", "four", "one", "two"]


async def test_a_delete_that_fails_half_way_is_repaired_by_running_again(call):
    store = Plain()
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=rows("a", "1", "2", "3"))
    store.fail_delete = True
    changed = rows("a", "one", "two")
    with pytest.raises(ConnectionError):
        await call(writer, documents=changed)
    assert {document.content for document in store.filter_documents()} >= {"one", "two"}
    store.fail_delete = False
    found = await call(writer, documents=changed)
    assert found == {"documents_written": 2, "documents_deleted": 2, "skipped": []}
    assert contents(store) == [("a", "one"), ("a", "two")]


class Blind(Plain):
    """Takes no notice of filters."""

    def filter_documents(self, filters=None):
        return super().filter_documents()


class Short(Plain):
    """Returns two rows of a filter at the most."""

    def filter_documents(self, filters=None):
        return super().filter_documents(filters)[:2]


async def test_rows_of_other_sources_stay_whatever_a_filter_finds(call):
    store = Blind()
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=[*rows("a", "1", "2"), Document(content="x", embedding=[1.0])])
    found = await call(writer, documents=rows("b", "1"))
    assert found == {"documents_written": 1, "documents_deleted": 0, "skipped": []}
    await call(writer, documents=rows("b", "2"))
    assert contents(store) == [("", "x"), ("a", "1"), ("a", "2"), ("b", "2")]


async def test_a_store_that_finds_a_few_rows_at_a_time_is_asked_until_none_is_left(call):
    store = Short()
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=rows("a", *"123456"))
    found = await call(writer, documents=rows("a", "new"))
    assert found == {"documents_written": 1, "documents_deleted": 6, "skipped": []}
    assert [document.content for document in store.store.filter_documents()] == ["new"]


async def test_a_delete_without_effect_is_not_asked_for_again(call):
    store = Plain()
    store.store.delete_documents = lambda document_ids: None
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=rows("a", "1"))
    await call(writer, documents=rows("a", "2"))
    assert [name for name, _ in store.calls].count("delete") == 1


async def test_a_filter_lists_sources_of_one_type_and_not_too_many(call):
    store = Plain()
    writer = ContextualDocumentWriter(store)
    names = [*range(7), *(f"source {n}" for n in range(1100))]
    await call(writer, documents=[row for name in names for row in rows(name, "1")])
    listed = [filters["value"] for name, filters in store.calls if name == "filter"]
    assert {value for values in listed for value in values} == {*names}
    assert sorted(map(len, listed)) == [7, 100, 500, 500]
    assert all(len({type(value) for value in values}) == 1 for values in listed)
    changed = [row for name in names for row in rows(name, "2")]
    found = await call(writer, documents=changed)
    assert found == {"documents_written": 1107, "documents_deleted": 1107, "skipped": []}


async def test_versions_written_at_once_are_sorted_out_by_the_next_write(call, store):
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=rows("a", "0"))
    versions = [rows("a", f"{number}-1", f"{number}-2") for number in range(3)]
    await asyncio.gather(*(writer.run_async(documents=version) for version in versions))
    await call(writer, documents=rows("a", "last"))
    assert contents(store) == [("a", "last")]


@pytest.mark.parametrize("name", ['it\'s "q" %_*', "ünï 王", "x" * 40_000, "", "null", 7])
async def test_a_source_of_any_name_is_found_again(call, store, name):
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=[*rows(name, "1", "2"), *rows("other", "1")])
    await call(writer, documents=rows(name, "new"))
    left = sorted(document.content for document in store.filter_documents())
    assert left == ["1", "new"]


@pytest.mark.parametrize("name", [7.5, True, ("a", 1), b"a", ["a"]])
async def test_a_source_that_no_store_could_find_again_changes_nothing(call, store, name):
    with pytest.raises(InputError, match=f"is a {type(name).__name__}"):
        await call(ContextualDocumentWriter(store), documents=[*rows("a", "1"), *rows(name, "1")])
    assert not store.filter_documents()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partial": "apend"}, "partial is one of 'error', 'append', got 'apend'"),
        ({"missing_group": "none"}, "missing_group is one of"),
        ({"source_key": "meta.source_id"}, "source_key names one field"),
        ({"order_key": "meta.split_id"}, "order_key names one field"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ContextualDocumentWriter(Plain(), **settings)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (rows("a", "x", start=1), "split_id 0 is missing"),
        ([*rows("a", "x"), *rows("a", "z", start=2)], "split_id 1 is missing"),
        ([*rows("a", "x"), *rows("a", "y")], "split_id 0 is one too many"),
        ([Document(content="x", meta={"source_id": "a"}, embedding=[1.0])], "no chunk has"),
        ([Document(content="x", meta={"source_id": "a", "split_id": 0})], "has no embedding"),
        ([replace(row, id="x") for row in rows("a", "x", "y")], "2 documents have the id"),
    ],
)
async def test_what_is_not_a_whole_source_changes_nothing(call, store, given, problem):
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=[*rows("a", "1", "2"), *rows("ok", "1")])
    before = store.filter_documents()
    with pytest.raises(InputError, match=problem) as caught:
        await call(writer, documents=[*rows("ok", "2"), *given])
    assert caught.value.key == "a"
    assert "nothing was written" in str(caught.value)
    assert store.filter_documents() == before


async def test_a_part_of_a_source_can_be_appended(call, store):
    writer = ContextualDocumentWriter(store, partial="append")
    await call(writer, documents=rows("a", "1", "2"))
    found = await call(writer, documents=rows("a", "4", start=3))
    assert found == {"documents_written": 1, "documents_deleted": 0, "skipped": []}
    assert contents(store) == [("a", "1"), ("a", "2"), ("a", "4")]
    with pytest.raises(InputError, match="no embedding"):
        await call(writer, documents=[Document(content="x")])


async def test_documents_without_a_source_are_written_by_their_id(call, store):
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=[Document(content="1", embedding=[1.0]), *rows("a", "x")])
    await call(writer, documents=[Document(content="2", embedding=[1.0])])
    assert contents(store) == [("", "1"), ("", "2"), ("a", "x")]


@pytest.mark.parametrize(
    ("settings", "count", "told"),
    [
        ({"source_key": "filepath", "order_key": None}, 2, 1),
        ({"source_key": "filepath", "order_key": None}, 1, 0),
        ({"source_key": "file_path", "order_key": None}, 2, 0),
        ({"source_key": "filepath", "partial": "append"}, 2, 0),
    ],
)
async def test_a_source_key_that_no_document_has_is_reported_once(
    call, store, caplog, settings, count, told
):
    given = [
        Document(content=f"secret {n}", meta={"file_path": "docs/secret.md"}, embedding=[1.0])
        for n in range(count)
    ]
    with caplog.at_level(logging.WARNING):
        await call(ContextualDocumentWriter(store, **settings), given)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == told
    for message in messages:
        assert message.startswith("None of 2 documents has the source_key 'filepath' in its meta")
        assert message.endswith("Its meta has 'file_path': is that meant?")
        assert "secret" not in message


async def test_chunks_without_a_source_are_refused(call, store):
    writer = ContextualDocumentWriter(store, source_key="file_path")
    with pytest.raises(InputError, match="it has a split_id and no file_path"):
        await call(writer, documents=rows("a", "1"))
    assert not store.filter_documents()


async def test_documents_without_a_source_can_be_refused(call, store):
    writer = ContextualDocumentWriter(store, missing_group="error")
    with pytest.raises(InputError, match="source_id"):
        await call(writer, documents=[Document(content="1", embedding=[1.0])])
    assert not store.filter_documents()


async def test_another_field_can_name_the_source(call, store):
    writer = ContextualDocumentWriter(store, source_key="file_path", order_key=None)
    for texts in (["1", "2"], ["new"]):
        given = [
            Document(content=text, meta={"file_path": "docs/x.md"}, embedding=[1.0])
            for text in texts
        ]
        await call(writer, documents=given)
    assert [document.content for document in store.filter_documents()] == ["new"]


async def test_nothing_to_write_asks_the_store_for_nothing(call):
    store = Plain()
    found = await call(ContextualDocumentWriter(store), documents=[])
    assert found == {"documents_written": 0, "documents_deleted": 0, "skipped": []}
    assert not store.calls


async def test_rows_are_found_first_and_deleted_last(call):
    store = Plain()
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=rows("a", "1"))
    store.calls.clear()
    await call(writer, documents=rows("a", "2"))
    names = [name for name, _ in store.calls]
    assert names == ["filter", "write", "delete", "filter"]
    assert store.calls[1][1] is DuplicatePolicy.OVERWRITE


@pytest.mark.parametrize("method", ["filter_documents", "delete_documents"])
def test_a_store_that_lacks_a_method_is_refused_at_once(method):
    methods = {name: getattr(Plain, name) for name in vars(Plain) if name != method}
    store = type("Lacking", (), methods)()
    with pytest.raises(ConfigurationError, match=f'Lacking has no working {method}.*"append"'):
        ContextualDocumentWriter(store)
    ContextualDocumentWriter(store, partial="append").run(rows("a", "1"))


async def test_a_store_that_cannot_filter_says_so_before_a_write(call):
    class Unable(Plain):
        def filter_documents(self, filters=None):
            raise NotImplementedError

    store = Unable()
    with pytest.raises(ConfigurationError, match="Unable has no working filter_documents"):
        await call(ContextualDocumentWriter(store), documents=rows("a", "1"))
    assert not store.calls


async def test_anything_but_a_list_of_documents_is_a_type_error(call, store):
    with pytest.raises(TypeError, match="list of Documents"):
        await call(ContextualDocumentWriter(store), documents="text")


async def test_closing_closes_the_store():
    closed = []

    class Closing(Plain):
        def close(self):
            closed.append("sync")

        async def close_async(self):
            closed.append("async")

    writer = ContextualDocumentWriter(Closing())
    writer.close()
    await writer.close_async()
    assert closed == ["sync", "async"]
    plain = ContextualDocumentWriter(Plain())
    plain.close()
    await plain.close_async()


# What an embedder came back with: it leaves the size of a source in meta


def embedded(source, *texts, failed=(), size=None):
    """Chunks as an embedder gives them: no vector and no size where there is no text."""
    given = rows(source, *texts)
    read = [n for n, text in enumerate(texts) if text.strip("\0 \n")]
    size = {"context_size": size or len(read)}
    return [
        replace(
            row,
            meta=row.meta | (size if n in read else {}),
            embedding=row.embedding if n in read and n not in failed else None,
        )
        for n, row in enumerate(given)
    ]


async def test_a_source_that_the_embedder_failed_on_is_left_out_whole(call, store, caplog):
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=[*embedded("bad", "old 1", "old 2"), *embedded("ok", "1")])
    bad = embedded("bad", "new 1", " ", "new 3", failed=[0, 2])
    with caplog.at_level(logging.WARNING):
        found = await call(writer, documents=[bad[2], *embedded("ok", "2"), bad[0], bad[1]])
    assert found == {
        "documents_written": 1,
        "documents_deleted": 1,
        "skipped": [bad[2], bad[0], bad[1]],
    }
    assert contents(store) == [("bad", "old 1"), ("bad", "old 2"), ("ok", "2")]
    (record,) = caplog.records
    assert record.getMessage() == (
        "1 of 2 sources were not written, because the embedder failed on them: 'bad'. "
        "Their former rows stay."
    )


async def test_one_failed_chunk_keeps_the_others_of_its_source_out(call, store):
    writer = ContextualDocumentWriter(store, source_key="file", order_key=None)
    halves = [*embedded("s1", "a", "b"), *embedded("s2", "c", failed=[0])]
    given = [replace(each, meta=each.meta | {"file": "f"}) for each in halves]
    found = await call(writer, documents=given)
    assert found == {"documents_written": 0, "documents_deleted": 0, "skipped": given}
    assert not store.filter_documents()


@pytest.mark.parametrize(
    "meta", [{"source_id": ["b"]}, {}, {"source_id": "b", "split_id": "one"}], ids=str
)
async def test_what_could_not_be_put_together_is_left_out_too(call, store, meta):
    bad = Document(content="x", meta=meta | {"context_size": 1})
    writer = ContextualDocumentWriter(store, missing_group="error")
    found = await call(writer, documents=[bad, *embedded("ok", "1")])
    assert found["skipped"] == [bad]
    assert contents(store) == [("ok", "1")]


async def test_blank_chunks_are_left_out_and_their_former_rows_deleted(call, store):
    writer = ContextualDocumentWriter(store)
    alone = Document(id="alone", content="old", embedding=[1.0])
    other = Document(id="other", content="stays", embedding=[1.0])
    former = [*embedded("a", "1", "2", "3"), *embedded("b", "1"), alone, other]
    await call(writer, documents=former)
    given = [*embedded("a", "1", " ", "new"), *embedded("b", "\n"), Document(id="alone")]
    found = await call(writer, documents=given)
    assert found == {"documents_written": 2, "documents_deleted": 4, "skipped": []}
    assert contents(store) == [("", "stays"), ("a", "1"), ("a", "new")]


async def test_nothing_but_blank_chunks_writes_nothing(call, store):
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=embedded("a", "1", "2"))
    found = await call(writer, documents=embedded("a", "", "\0 "))
    assert found == {"documents_written": 0, "documents_deleted": 2, "skipped": []}
    assert not store.filter_documents()


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (embedded("a", "1", "2", "3")[:2], "the call has 2 chunks of a source that had 3"),
        (embedded("a", "1", "2", " ", size=3), "the call has 2 chunks of a source that had 3"),
        (embedded("a", "1", " ")[1:], "split_id 0 is missing"),
        (
            [
                *embedded("a", "1"),
                *[
                    replace(r, meta=r.meta | {"split_id": 1}, id="x")
                    for r in embedded("a", "2", size=2)
                ],
            ],
            "the call has 1 chunks of a source that had 2",
        ),
    ],
)
async def test_a_chunk_that_is_missing_at_the_end_is_noticed(call, store, given, problem):
    writer = ContextualDocumentWriter(store)
    await call(writer, documents=rows("a", "old"))
    with pytest.raises(InputError, match=f"{problem}.*nothing was written") as caught:
        await call(writer, documents=given)
    assert caught.value.key == "a"
    assert contents(store) == [("a", "old")]


async def test_a_source_of_the_writer_may_be_several_of_the_embedder(call, store):
    writer = ContextualDocumentWriter(store, source_key="file", order_key=None)
    sections = [*embedded("s1", "a", "b"), *embedded("s2", "c"), *embedded("s3", "d", "e")]
    given = [replace(each, meta=each.meta | {"file": "f"}) for each in sections]
    assert (await call(writer, documents=given))["documents_written"] == 5
    with pytest.raises(InputError, match="the call has 3 chunks of a source that had 2"):
        await call(writer, documents=given[:-1])


async def test_a_part_that_the_embedder_failed_on_is_not_appended(call, store):
    writer = ContextualDocumentWriter(store, partial="append")
    bad = embedded("bad", "x", failed=[0])
    given = [*bad, *embedded("a", "1", "2", " ")[1:], Document(content=" ")]
    found = await call(writer, documents=given)
    assert found == {"documents_written": 1, "documents_deleted": 0, "skipped": bad}
    assert contents(store) == [("a", "2")]
