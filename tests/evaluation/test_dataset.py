"""The demo's data: its own, a folder of yours, and what is said of a bad line."""

import gzip
import json
from pathlib import Path

import pytest

from ctxembed.errors import ConfigurationError, InputError
from ctxembed.evaluation.dataset import Document, Query, load_data

DOCUMENT = {"doc_id": "d", "title": "Tales", "text": "Once upon a time."}
QUERY = {"query_id": "q", "query": "When?", "doc_id": "d", "spans": [[0, 16]]}


def write(folder: Path, documents: list[object], queries: list[object]) -> Path:
    """Write a folder of data; what is no string is written as JSON."""
    for name, lines in (("docs.jsonl", documents), ("queries.jsonl", queries)):
        text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_folder_is_read_with_blank_lines_and_without_titles(tmp_path: Path):
    """Blank lines are passed over, a title may be missing, spans become pairs."""
    folder = write(tmp_path, ["", {"doc_id": "d", "text": "Once upon a time."}, " "], [QUERY, ""])
    data = load_data(folder)

    assert (Document("d", "", "Once upon a time."),) == data.documents
    assert (Query("q", "When?", "d", ((0, 16),)),) == data.queries
    assert not data.own


def test_compressed_files_are_read(tmp_path: Path):
    """Either file may be compressed, under its name with .gz."""
    write(tmp_path, [DOCUMENT], [QUERY])
    plain = tmp_path / "docs.jsonl"
    (tmp_path / "docs.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()

    assert ["d"] == [document.id for document in load_data(tmp_path).documents]


def test_the_own_data_set_is_whole_and_free_to_pass_on():
    """23 tales, 1,025 questions, no stray line ends, the licence beside them."""
    data = load_data()
    folder = Path(load_data.__code__.co_filename).parent / "fairytale_val"

    assert (23, 1025, True) == (len(data.documents), len(data.queries), data.own)
    assert not any("\r" in document.text for document in data.documents)
    assert "Apache License" in (folder / "LICENSE.txt").read_text(encoding="utf-8")
    assert "a24ddc17" in (folder / "README.md").read_text(encoding="utf-8")


BAD_DOCUMENTS = {
    "not JSON": ('{"doc_id": ', "is not JSON"),
    "too deep": ("[" * 100_000, "nested too deep"),
    "no object": ([1], "has to be an object"),
    "no id": ({"text": "a"}, 'has no "doc_id"'),
    "id no string": ({"doc_id": 1, "text": "a"}, '"doc_id" has to be a string, got a number'),
    "no text": ({"doc_id": "e"}, 'has no "text"'),
    "blank text": ({"doc_id": "e", "text": " \n"}, '"text" is empty'),
    "surrogate": ({"doc_id": "e", "text": "\ud800"}, "lone surrogate"),
    "same id": (DOCUMENT, "its id is on line 1 already"),
}


@pytest.mark.parametrize(("line", "reason"), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS)
def test_a_bad_document_names_file_and_line(tmp_path: Path, line: object, reason: str):
    """What is wrong with a line of docs.jsonl is said with its number."""
    folder = write(tmp_path, [DOCUMENT, line], [QUERY])

    with pytest.raises(InputError, match=rf"docs\.jsonl, line 2: .*{reason}"):
        load_data(folder)


BAD_QUERIES = {
    "no document": (QUERY | {"query_id": "r", "doc_id": "x"}, "is not in the documents' file"),
    "beyond the text": (QUERY | {"query_id": "r", "spans": [[0, 18]]}, "beyond the 17 characters"),
    "no spans": (QUERY | {"query_id": "r", "spans": []}, '"spans" has to be'),
    "backwards": (QUERY | {"query_id": "r", "spans": [[4, 4]]}, '"spans" has to be'),
    "negative": (QUERY | {"query_id": "r", "spans": [[-1, 4]]}, '"spans" has to be'),
    "booleans": (QUERY | {"query_id": "r", "spans": [[False, True]]}, '"spans" has to be'),
    "same id": (QUERY, "its id is on line 1 already"),
}


@pytest.mark.parametrize(("line", "reason"), BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_bad_query_names_file_and_line(tmp_path: Path, line: object, reason: str):
    """What is wrong with a line of queries.jsonl is said with its number."""
    folder = write(tmp_path, [DOCUMENT], [QUERY, line])

    with pytest.raises(InputError, match=rf"queries\.jsonl, line 2: .*{reason}"):
        load_data(folder)


def test_bytes_that_are_not_text_name_file_and_line(tmp_path: Path):
    """Another encoding than UTF-8 is refused."""
    write(tmp_path, [DOCUMENT], [QUERY])
    (tmp_path / "docs.jsonl").write_bytes(b'{"doc_id": "d", "text": "caf\xe9"}')

    with pytest.raises(InputError, match=r"docs\.jsonl, line 1: is not UTF-8 at byte 28"):
        load_data(tmp_path)


def test_a_broken_gzip_file_is_named(tmp_path: Path):
    """A cut download is no traceback."""
    write(tmp_path, [DOCUMENT], [QUERY])
    whole = gzip.compress((tmp_path / "docs.jsonl").read_bytes())
    (tmp_path / "docs.jsonl").unlink()
    (tmp_path / "docs.jsonl.gz").write_bytes(whole[:-9])

    with pytest.raises(InputError, match=r"docs\.jsonl\.gz: is not a whole gzip file"):
        load_data(tmp_path)


def test_a_folder_that_is_not_there_or_lacks_a_file_is_a_configuration_error(tmp_path: Path):
    """The message says what --data takes; an empty file says so too."""
    with pytest.raises(ConfigurationError, match="is not a folder"):
        load_data(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"has no docs\.jsonl"):
        load_data(tmp_path)
    with pytest.raises(InputError, match="has no line"):
        load_data(write(tmp_path, [], []))
