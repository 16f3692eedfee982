"""Files as sources: none takes the rows of another, and none is read twice in a call."""

from pathlib import Path
from uuid import UUID

import pytest
from haystack import Document, Pipeline
from haystack.components.converters import TextFileToDocument
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from ctxembed import InputError
from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
)

BY_PATH = {"source_key": "file_path", "order_key": None}


def pipeline(store, tiny, *, full=True, writer=None, **options):
    made = Pipeline()
    made.add_component("converter", TextFileToDocument(store_full_path=full))
    made.add_component("splitter", DocumentSplitter(split_by="period", split_length=1))
    embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False, **(BY_PATH | options))
    made.add_component("embedder", embedder)
    made.add_component("writer", writer or ContextualDocumentWriter(store))
    made.connect("converter", "splitter")
    made.connect("splitter", "embedder")
    made.connect("embedder.documents", "writer.documents")
    return made


@pytest.fixture
def files(tmp_path):
    """Two files of one name."""
    found = []
    for name in ("a", "b"):
        tmp_path.joinpath(name).mkdir()
        path = tmp_path / name / "README.md"
        path.write_text(f"Project {name} is a tool. It does {name} things.", encoding="utf-8")
        found.append(path)
    return found


def contents(store):
    return sorted(document.content for document in store.filter_documents())


BOTH = [
    " It does a things.",
    " It does b things.",
    "Project a is a tool.",
    "Project b is a tool.",
]


def test_two_files_of_one_name_are_two_sources(tiny, files, vectors):
    store = InMemoryDocumentStore()
    for path in files:
        found = pipeline(store, tiny).run({"converter": {"sources": [path]}})
        assert found["writer"]["documents_deleted"] == 0
    assert contents(store) == BOTH
    expected = vectors(["Project b is a tool.", " It does b things."])
    rows = [row for row in store.filter_documents() if row.meta["file_path"] == str(files[1])]
    rows.sort(key=lambda row: row.meta["split_id"])
    assert [row.embedding for row in rows] == [pytest.approx(each, abs=1e-6) for each in expected]


def test_a_bare_name_is_refused_by_the_embedder(tiny, files):
    store = InMemoryDocumentStore()
    with pytest.raises(Exception, match=r"'README.md'.* no folder.*store_full_path=True"):
        pipeline(store, tiny, full=False).run({"converter": {"sources": files[:1]}})


def test_a_lenient_embedder_leaves_bare_names_out_and_keeps_what_is_stored(tiny, files, vectors):
    store = InMemoryDocumentStore()
    pipeline(store, tiny).run({"converter": {"sources": files}})
    lenient = pipeline(store, tiny, full=False, raise_on_failure=False)
    found = lenient.run({"converter": {"sources": files}})
    assert found["writer"]["documents_written"] == found["writer"]["documents_deleted"] == 0
    assert len(found["writer"]["skipped"]) == 4
    (failed,) = found["embedder"]["meta"]["failed"]
    assert (failed["source"], failed["error"]) == ("README.md", "InputError")
    assert contents(store) == BOTH


async def test_a_bare_name_is_refused_by_the_writer(call):
    store = InMemoryDocumentStore()
    given = [Document(content="a", meta={"file_path": "README.md"}, embedding=[1.0])]
    with pytest.raises(InputError, match=r"nothing was written: its file_path has no folder"):
        await call(ContextualDocumentWriter(store, **BY_PATH), documents=given)
    assert store.count_documents() == 0


def test_bare_names_can_be_allowed(tiny, files):
    store = InMemoryDocumentStore()
    writer = ContextualDocumentWriter(store, bare_names="allow")
    made = pipeline(store, tiny, full=False, writer=writer, bare_names="allow")
    made.run({"converter": {"sources": files[:1]}})
    files[0].write_text("Changed.", encoding="utf-8")
    found = made.run({"converter": {"sources": files[:1]}})
    assert found["writer"] == {"documents_written": 1, "documents_deleted": 2, "skipped": []}
    with pytest.raises(Exception, match="bare_names is one of 'error', 'allow'"):
        ContextualDocumentWriter(store, bare_names="no")


@pytest.mark.parametrize(
    "keys", [BY_PATH, {"source_key": "source_id", "order_key": "split_id"}], ids=["path", "id"]
)
def test_a_file_that_is_twice_in_a_call_is_one_source(tiny, files, vectors, keys):
    store = InMemoryDocumentStore()
    found = pipeline(store, tiny, **keys).run(
        {"converter": {"sources": [files[0], files[1], files[0]]}},
        include_outputs_from={"embedder"},
    )
    assert found["writer"] == {"documents_written": 4, "documents_deleted": 0, "skipped": []}
    expected = vectors(["Project a is a tool.", " It does a things."])
    given = found["embedder"]["documents"]
    assert [document.embedding for document in given[:2]] == expected
    assert given[4:] == given[:2]


def test_two_versions_of_a_source_in_a_call_are_never_merged(tiny, vectors):
    versions = [
        Document(content=f"{text} {place}", meta={"source_id": "s", "split_id": place})
        for text in ("old", "new")
        for place in range(2)
    ]
    other = Document(content="whole", meta={"source_id": "other", "split_id": 0})
    embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False, raise_on_failure=False)
    result = embedder.run([*versions, other])
    assert [document.embedding for document in result["documents"][:4]] == [None] * 4
    assert result["documents"][4].embedding == vectors(["whole"])[0]
    assert "split_id 0 is one too many" in result["meta"]["failed"][0]["reason"]


async def test_the_writer_takes_the_keys_of_the_embedder(call, tiny):
    """A default that differed deleted by `source_id`, and left the rows of a former content."""
    store = InMemoryDocumentStore()
    embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False, **BY_PATH)
    splitter = DocumentSplitter(split_by="period", split_length=1)
    for text in ("One. Two. Three.", "One. Changed.", " "):
        page = Document(content=text, meta={"file_path": "docs/a.md"})
        chunks = splitter.run([page])["documents"]
        found = (await call(embedder, documents=chunks))["documents"]
        await call(ContextualDocumentWriter(store), documents=found)
        assert store.count_documents() == text.count(".")


async def test_a_writer_s_own_key_must_take_whole_sources_of_the_embedder(call, tiny):
    pages = [
        Document(content=f"{n}. {n} again.", id=str(n), meta={"file_path": "docs/a.md"})
        for n in range(2)
    ]
    chunks = DocumentSplitter(split_by="period", split_length=1).run(pages)["documents"]
    store = InMemoryDocumentStore()
    writer = ContextualDocumentWriter(store, **BY_PATH)
    of_pages = ContextualDocumentEmbedder(**tiny, progress_bar=False)
    found = (await call(of_pages, documents=chunks))["documents"]
    with pytest.raises(InputError, match="1 chunks of a source that had 2"):
        await call(writer, documents=[found[0], found[2], found[3]])
    assert (await call(writer, documents=found))["documents_written"] == 4
    of_files = ContextualDocumentEmbedder(**tiny, progress_bar=False, **BY_PATH)
    whole = (await call(of_files, documents=chunks))["documents"]
    with pytest.raises(InputError, match="2 chunks of a source that had 4"):
        await call(ContextualDocumentWriter(store, source_key="source_id"), documents=whole)
    with pytest.raises(InputError, match="unlike keys"):
        await call(ContextualDocumentWriter(store), documents=[*found, *whole])


@pytest.mark.parametrize(
    "name", [Path("docs", "a.md"), UUID("12345678123456781234567812345678")], ids=["path", "uuid"]
)
async def test_a_path_and_a_uuid_name_a_source_by_their_text(call, tiny, vectors, name):
    store = InMemoryDocumentStore()
    embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False, **BY_PATH)
    writer = ContextualDocumentWriter(store, bare_names="allow")
    embedder = ContextualDocumentEmbedder(
        **tiny, progress_bar=False, bare_names="allow", **BY_PATH
    )
    for texts in (["one", "two"], ["new"]):
        given = [Document(content=text, meta={"file_path": name}) for text in texts]
        found = (await call(embedder, documents=given))["documents"]
        assert [document.embedding for document in found] == vectors(texts)
        await call(writer, documents=found)
    (row,) = store.filter_documents()
    assert row.meta["file_path"] == str(name)
    unstamped = Document(content="x", meta={"file_path": name}, embedding=[1.0])
    await call(ContextualDocumentWriter(store, bare_names="allow", **BY_PATH), [unstamped])
    assert contents(store) == ["x"]


def test_a_missing_split_id_is_answered_with_order_key(tiny):
    given = Document(content="x", meta={"source_id": "a"}, embedding=[1.0])
    with pytest.raises(InputError, match=r"no chunk has a split_id.*order_key=None in embedder"):
        ContextualDocumentWriter(InMemoryDocumentStore()).run([given])


def test_what_the_embedder_stamps_is_no_trouble_for_another_writer(tiny, files):
    store = InMemoryDocumentStore()
    pipeline(store, tiny, writer=DocumentWriter(store)).run({"converter": {"sources": files}})
    assert contents(store) == BOTH
