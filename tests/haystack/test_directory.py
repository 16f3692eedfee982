"""A folder of 20 files of which three are bad: the table of docs/haystack.md, by value."""

import logging
from pathlib import Path

import pytest
from haystack import Pipeline
from haystack.components.converters import TextFileToDocument
from haystack.components.preprocessors import DocumentSplitter
from haystack.core.errors import PipelineRuntimeError
from haystack.document_stores.in_memory import InMemoryDocumentStore

from ctxembed import Embedder, Settings, to_floats
from ctxembed.testing import FakeBackend
from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
)

GOOD = 17
BY_PATH = {"source_key": "file_path", "order_key": None}


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(GOOD):
        folder.joinpath(f"{number:02}.txt").write_text(
            f"File {number}.\nIt is short.\n", encoding="utf-8"
        )
    folder.joinpath("empty.txt").write_text("", encoding="utf-8")
    folder.joinpath("surrogate.txt").write_bytes("half \ud83d".encode("utf-8", "surrogatepass"))
    folder.joinpath("long.txt").write_text("one\n" + "word " * 1001, encoding="utf-8")
    return sorted(folder.iterdir())


def indexing(store, **options):
    pipeline = Pipeline()
    pipeline.add_component("converter", TextFileToDocument(store_full_path=True))
    pipeline.add_component("splitter", DocumentSplitter(split_by="line", split_length=1))
    embedder = ContextualDocumentEmbedder(progress_bar=False, **BY_PATH, **options)
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("writer", ContextualDocumentWriter(store, **BY_PATH))
    pipeline.connect("converter", "splitter")
    pipeline.connect("splitter", "embedder")
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


def test_by_default_one_file_that_is_too_long_stops_the_folder(fake, files, caplog):
    store = InMemoryDocumentStore()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(PipelineRuntimeError, match=r"long\.txt'\), chunk 1: has 1001 tokens"),
    ):
        indexing(store).run({"converter": {"sources": files}})
    assert store.count_documents() == 0


@pytest.mark.parametrize("options", [{"raise_on_failure": False}, {}], ids=["lenient", "default"])
def test_what_is_stored_said_and_returned(fake, files, caplog, options):
    """By default it is the same once the file that is too long is gone."""
    lenient = "raise_on_failure" in options
    given = [path for path in files if lenient or path.name != "long.txt"]
    store = InMemoryDocumentStore()
    with caplog.at_level(logging.WARNING):
        found = indexing(store, **options).run(
            {"converter": {"sources": given}}, include_outputs_from={"embedder"}
        )

    rows = store.filter_documents()
    core = Embedder(FakeBackend(), Settings(normalize=True))
    for number in range(GOOD):
        of_file = [row for row in rows if Path(row.meta["file_path"]).name == f"{number:02}.txt"]
        texts = [row.content for row in of_file]
        (expected,) = core.embed_documents([texts])
        assert [text.strip() for text in texts] == [f"File {number}.", "It is short."]
        assert [row.embedding for row in of_file] == to_floats(expected)
    assert len(rows) == 2 * GOOD

    writer, embedder = found["writer"], found["embedder"]["meta"]
    assert writer["documents_written"] == 2 * GOOD
    skipped = [Path(document.meta["file_path"]).name for document in writer["skipped"]]
    assert skipped == (["long.txt", "long.txt"] if lenient else [])
    if lenient:
        (failed,) = embedder["failed"]
        assert (Path(failed["source"]).name, failed["error"]) == (
            "long.txt",
            "DocumentTooLongError",
        )

    expected = ["Could not convert file ", "Document ID "]
    if lenient:
        long = files[0].with_name("long.txt")
        expected += [
            f"1 of 18 sources were not embedded; the first is '{long}': chunk 1: has 1001",
            f"1 of 18 sources were not written, because the embedder failed on them: '{long}'.",
        ]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(expected)
    assert all(map(str.startswith, messages, expected))
    assert "surrogate.txt. Skipping it." in messages[0]
    assert "has an empty content. Skipping this document." in messages[1]
