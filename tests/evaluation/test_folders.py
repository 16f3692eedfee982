"""The demo's data: its own, a folder of yours, and what is said of a bad line."""

import gzip
import json
from pathlib import Path

import pytest

from ctxembed.errors import ConfigurationError, InputError
from ctxembed.evaluation.collection import Document, Query
from ctxembed.evaluation.folders import load_collection, need_queries

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
    data = load_collection(folder)

    assert (Document("d", "", "Once upon a time."),) == data.documents
    assert (Query("q", "When?", {"d": ((0, 16),)}),) == data.queries
    assert not data.own


def test_compressed_files_are_read(tmp_path: Path):
    """Either file may be compressed, under its name with .gz."""
    write(tmp_path, [DOCUMENT], [QUERY])
    plain = tmp_path / "docs.jsonl"
    (tmp_path / "docs.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()

    assert ["d"] == [document.id for document in load_collection(tmp_path).documents]


def test_the_own_data_set_is_whole_and_free_to_pass_on():
    """23 tales, 1,025 questions, no stray line ends, the licence beside them."""
    data = load_collection()
    folder = Path(load_collection.__code__.co_filename).parent / "fairytale_val"

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
        load_collection(folder)


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
        load_collection(folder)


def test_bytes_that_are_not_text_name_file_and_line(tmp_path: Path):
    """Another encoding than UTF-8 is refused."""
    write(tmp_path, [DOCUMENT], [QUERY])
    (tmp_path / "docs.jsonl").write_bytes(b'{"doc_id": "d", "text": "caf\xe9"}')

    with pytest.raises(InputError, match=r"docs\.jsonl, line 1: is not UTF-8 at byte 28"):
        load_collection(tmp_path)


def test_a_broken_gzip_file_is_named(tmp_path: Path):
    """A cut download is no traceback."""
    write(tmp_path, [DOCUMENT], [QUERY])
    whole = gzip.compress((tmp_path / "docs.jsonl").read_bytes())
    (tmp_path / "docs.jsonl").unlink()
    (tmp_path / "docs.jsonl.gz").write_bytes(whole[:-9])

    with pytest.raises(InputError, match=r"docs\.jsonl\.gz: is not a whole gzip file"):
        load_collection(tmp_path)


def test_a_folder_that_is_not_there_or_lacks_a_file_is_a_configuration_error(tmp_path: Path):
    """The message says what --data takes; an empty file says so too."""
    with pytest.raises(ConfigurationError, match="is not a folder"):
        load_collection(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"has no docs\.jsonl"):
        load_collection(tmp_path)
    with pytest.raises(InputError, match="has no line"):
        load_collection(write(tmp_path, [], []))


def test_the_short_names_of_ids_do_too(tmp_path: Path):
    """`ctxembed embed` has "id" where this layout has "doc_id" and "query_id"."""
    document = {"id": "d", "text": "Once upon a time."}
    query = {"id": "q", "query": "When?", "doc_id": "d", "spans": [[0, 16]]}
    found = load_collection(write(tmp_path, [document], [query]))

    assert (Document("d", "", "Once upon a time."),) == found.documents
    assert (Query("q", "When?", {"d": ((0, 16),)}),) == found.queries


def test_documents_without_queries_are_a_collection_too(tmp_path: Path):
    """A folder without queries.jsonl, and a file of lines alone."""
    file = write(tmp_path, [DOCUMENT], []) / "docs.jsonl"
    (tmp_path / "queries.jsonl").unlink()

    assert () == load_collection(tmp_path).queries
    assert load_collection(tmp_path).documents == load_collection(file).documents
    with pytest.raises(ConfigurationError, match=r"has no queries\.jsonl"):
        need_queries(load_collection(tmp_path), tmp_path)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """A folder in BEIR's layout: three documents, three queries, of which two have answers."""
    files = {
        "corpus.jsonl": [
            {"_id": "1", "title": "Sea", "text": "Salt water."},
            {"_id": "2", "title": "River", "text": "  ", "metadata": {}},
            {"_id": "3", "text": "Ice."},
        ],
        "queries.jsonl": [{"_id": f"q{n}", "text": f"What is {n}?"} for n in range(3)],
    }
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    table = "query-id\tcorpus-id\tscore\nq0\t1\t1\nq0\t3\t2\nq1\t2\t1\n\nq2\t1\t0\n"
    (tmp_path / "qrels" / "test.tsv").write_text(table, encoding="utf-8")
    (tmp_path / "qrels" / "train.tsv").write_text("q2\t1\t1\n", encoding="utf-8")
    return tmp_path


def test_a_folder_as_beir_has_it_is_read(beir: Path):
    """Answers are whole documents, of the test split where there is one; a title may be the text.

    A query without an answer in that split is none of this collection.
    """
    found = load_collection(beir)

    assert found.whole
    assert ["Salt water.", "River", "Ice."] == [document.text for document in found.documents]
    assert found.queries == (
        Query("q0", "What is 0?", {"1": ((0, 11),), "3": ((0, 4),)}),
        Query("q1", "What is 1?", {"2": ((0, 5),)}),
    )
    (beir / "qrels" / "test.tsv").unlink()
    assert ["q2"] == [query.id for query in load_collection(beir).queries]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("qx\t1\t1", "query 'qx' is not in queries.jsonl"),
        ("q0\t9\t1", "document '9' is not in the corpus"),
        ("q0\t1", "has to be query-id, corpus-id and a whole number"),
        ("q0\t1\tyes", "has to be query-id, corpus-id and a whole number"),
    ],
)
def test_a_bad_line_of_qrels_names_file_and_line(beir: Path, line: str, reason: str):
    with (beir / "qrels" / "test.tsv").open("a", encoding="utf-8") as file:
        file.write(line + "\n")

    with pytest.raises(InputError, match=rf"test\.tsv, line 7: {reason}"):
        load_collection(beir)


def test_files_of_text_are_documents(tmp_path: Path):
    """By name, at any depth; empty and hidden ones, and other files, are none."""
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    texts = {
        "b/c/two.MD": "Two.",
        "one.txt": "One.",
        "empty.txt": " ",
        ".git/x.txt": "x",
        "y": "y",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    found = [Document("b/c/two.MD", "two", "Two."), Document("one.txt", "one", "One.")]
    assert tuple(found) == load_collection(tmp_path).documents
    (tmp_path / "one.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"one\.txt: is not UTF-8 at byte 3"):
        load_collection(tmp_path)
