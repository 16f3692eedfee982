"""A folder of 20 files of which three are bad: the table of docs/langchain.md, by value."""

from pathlib import Path

import numpy as np
import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from ctxembed import DocumentTooLongError, InputError
from langchain_ctxembed import ContextualVectorStore, context_key

GOOD = 17
BAD = {"empty.txt": "", "long.txt": "word " * 1001, "surrogate.txt": "half \ud83d"}


class Folder(BaseLoader):
    """Reads a file per document, as the loaders of langchain-community do."""

    def __init__(self, folder: Path):
        self._folder = folder

    def lazy_load(self):
        for path in sorted(self._folder.iterdir()):
            text = path.read_text(encoding="utf-8", errors="surrogatepass")
            yield Document(page_content=text, metadata={"source": path.name})


@pytest.fixture
def folder(tmp_path):
    good = {f"{number:02}.txt": f"File {number}.\nIt is short." for number in range(GOOD)}
    for name, text in (good | BAD).items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return tmp_path


class Indexed:
    def __init__(self, embeddings, registry):
        self.store = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
        self._records = InMemoryRecordManager("files")
        self._records.create_schema()

    def run(self, folder, splitter):
        chunks = splitter.split_documents(Folder(folder).load())
        options = {"source_id_key": "source_id", "key_encoder": context_key}
        return index(chunks, self._records, self.store, cleanup="scoped_full", **options)

    def check(self, embeddings):
        found = [
            (e["metadata"]["source"], e["metadata"]["context_index"], e["vector"])
            for e in self.store.store.store.values()
        ]
        assert len(found) == 2 * GOOD
        for number in range(GOOD):
            name = f"{number:02}.txt"
            (expected,) = embeddings.embed_contexts([[f"File {number}.", "It is short."]])
            vectors = {place: vector for source, place, vector in found if source == name}
            assert np.allclose([vectors[0], vectors[1]], expected)


def test_by_default_a_bad_file_stops_the_folder_and_nothing_is_stored(
    fake, registry, folder, line_splitter, caplog
):
    embeddings, _ = fake()
    indexed = Indexed(embeddings, registry)
    splitter = line_splitter(embeddings=embeddings)
    with pytest.raises(InputError, match=r"\('surrogate\.txt'\): has a lone surrogate"):
        indexed.run(folder, splitter)
    folder.joinpath("surrogate.txt").unlink()
    with pytest.raises(DocumentTooLongError, match=r"Chunk \d+ \('long\.txt'\): has 1001"):
        indexed.run(folder, splitter)
    assert not indexed.store.store.store
    folder.joinpath("long.txt").unlink()
    caplog.clear()
    assert indexed.run(folder, splitter)["num_added"] == 2 * GOOD
    indexed.check(embeddings)
    (record,) = caplog.records
    assert record.getMessage() == "Chunks without text, left out: 1, of 'empty.txt'."


def test_with_skip_the_good_files_are_stored_and_the_others_are_said(
    fake, registry, folder, line_splitter, caplog
):
    embeddings, _ = fake()
    indexed = Indexed(embeddings, registry)
    splitter = line_splitter(embeddings=embeddings, errors="skip")
    result = indexed.run(folder, splitter)
    assert result == {
        "num_added": 2 * GOOD,
        "num_updated": 0,
        "num_skipped": 0,
        "num_deleted": 0,
    }
    indexed.check(embeddings)
    long, surrogate = splitter.failures
    assert (long.key, type(long)) == ("long.txt", DocumentTooLongError)
    assert (surrogate.key, type(surrogate)) == ("surrogate.txt", InputError)
    assert [record.getMessage() for record in caplog.records] == [
        f"Left out: {long}",
        f"Left out: {surrogate}",
        "Chunks without text, left out: 1, of 'empty.txt'.",
    ]
