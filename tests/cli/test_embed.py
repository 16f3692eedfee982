"""`ctxembed embed`: what it writes, what it refuses, and what stays when it fails."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ctxembed
from ctxembed import Embedder, Settings
from ctxembed.files import parquet as writers
from ctxembed.testing import FakeBackend

TALES = [["one two", "three", "four five six"], ["seven"], ["eight", "nine"]]
DOCUMENTS = [{"id": key, "chunks": tale} for key, tale in zip("abc", TALES, strict=True)]
BAD = [b"nonsense", {"id": "e", "chunks": ["x", " "]}, {"id": "a", "chunks": ["again"]}]


def expected(**settings):
    return Embedder(FakeBackend(), Settings(**settings)).embed_documents(TALES)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def records(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def vectors(table):
    """The embedding column as numpy, in the type that it is stored in."""
    column = table.column("embedding").combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy().reshape(len(column), -1)
    return np.stack([np.frombuffer(value, np.uint8) for value in column.to_pylist()])


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, pa.int8()),
        ({"encoding": "binary"}, pa.int8()),
        ({"encoding": "float"}, pa.float32()),
        ({"normalize": True}, pa.float32()),
        ({"encoding": "ubinary", "dimensions": 12}, None),
        ({"dimensions": 5}, pa.int8()),
    ],
)
def test_parquet_has_one_row_per_chunk_with_the_rows_of_the_embedder(run, lines, settings, kind):
    options = [f"--{k}" if v is True else f"--{k}={v}" for k, v in settings.items()]
    result = run("embed", lines(*DOCUMENTS), "-o", "out.parquet", *options)

    assert (result.exit_code, result.stdout) == (0, "")
    table = pq.read_table("out.parquet")
    assert table.column("id").to_pylist() == list("aaabcc")
    assert table.column("chunk_index").to_pylist() == [0, 1, 2, 0, 0, 1]
    assert table.column("text").to_pylist() == [chunk for tale in TALES for chunk in tale]
    assert np.array_equal(np.concatenate(expected(**settings)), vectors(table))
    width = settings.get("dimensions", 16)
    stored = table.schema.field("embedding").type
    if kind is None:
        assert stored == pa.binary(2)
    else:
        assert (stored.list_size, stored.value_type) == (width, kind)


def test_parquet_names_what_it_was_made_with(run, lines):
    run("embed", lines(*DOCUMENTS), "-o", "out.parquet", "--dimensions", "8", "--normalize")

    settings = Settings(dimensions=8, normalize=True)
    metadata = pq.read_schema("out.parquet").metadata
    assert Settings.from_dict(json.loads(metadata[b"ctxembed.settings"])) == settings
    assert metadata[b"ctxembed.fingerprint"].decode() == settings.fingerprint()
    assert metadata[b"ctxembed.version"].decode() == ctxembed.__version__
    assert metadata[b"ctxembed.dimensions"] == b"8"


def test_row_groups_are_written_as_rows_come(run, lines, monkeypatch):
    monkeypatch.setattr(writers, "_GROUP_ROWS", 3)
    run("embed", lines(*DOCUMENTS), "-o", "out.parquet")

    file = pq.ParquetFile("out.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [3, 3]
    assert np.array_equal(np.concatenate(expected()), vectors(file.read()))


def test_jsonl_has_one_line_per_document(run, lines):
    run("embed", lines(*DOCUMENTS), "-o", "out.jsonl")

    found = records("out.jsonl")
    assert [
        {"id": key, "embeddings": rows.tolist()}
        for key, rows in zip("abc", expected(), strict=True)
    ] == found


@pytest.mark.parametrize("out", [[], ["-o", "-"]])
def test_standard_output_holds_vectors_and_nothing_else(run, lines, out):
    result = run("embed", lines(*DOCUMENTS), "--encoding", "float", *out)

    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [document["id"] for document in found] == ["a", "b", "c"]
    for rows, document in zip(expected(encoding="float"), found, strict=True):
        assert np.array_equal(rows, np.array(document["embeddings"], np.float32))
    assert result.stderr.startswith("3 documents, 6 chunks, 12 tokens read in ")


def test_standard_input_is_read(run):
    result = run("embed", "-", stdin='{"id": "a", "chunks": ["x"]}\n')

    assert result.exit_code == 0
    assert json.loads(result.stdout)["id"] == "a"


def test_text_is_split_by_tokens(run, lines):
    text = "One two three. Four five. Six seven eight nine ten."
    run("embed", lines({"id": "a", "text": text}), "-o", "o.parquet", "--chunk-tokens", 5)

    chunks = ["One two three. Four five.", "Six seven eight nine ten."]
    table = pq.read_table("o.parquet")
    assert table.column("text").to_pylist() == chunks
    rows = Embedder(FakeBackend()).embed_documents([chunks])[0]
    assert np.array_equal(rows, vectors(table))


def test_skipped_lines_are_listed_and_the_rest_is_written(run, lines, tmp_path):
    result = run("embed", lines(*DOCUMENTS, *BAD), "-o", "out.parquet", "--errors", "skip")

    assert result.exit_code == 1
    assert "skipped 3 lines, see out.parquet.errors.jsonl" in result.stderr
    assert pq.read_table("out.parquet").num_rows == 6
    found = records("out.parquet.errors.jsonl")
    assert [(r["line"], r["id"], r["chunk"], r["error"]) for r in found] == [
        (4, None, None, "InputError"),
        (5, "e", 1, "EmptyChunkError"),
        (6, "a", None, "InputError"),
    ]
    assert "on line 1 already" in found[2]["reason"]
    assert names(tmp_path) == ["in.jsonl", "out.parquet", "out.parquet.errors.jsonl"]


def test_skipped_lines_of_standard_output_are_listed_here(run, lines, tmp_path):
    result = run("embed", lines(*DOCUMENTS, *BAD), "--errors", "skip")

    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 3
    assert names(tmp_path) == ["ctxembed.errors.jsonl", "in.jsonl"]


def test_bad_line_stops_with_file_and_line_and_leaves_the_old_file(run, lines, tmp_path):
    (tmp_path / "out.parquet").write_bytes(b"old")
    result = run("embed", lines(*DOCUMENTS, *BAD), "-o", "out.parquet")

    assert (result.exit_code, result.stdout) == (2, "")
    source = tmp_path / "in.jsonl"
    message = f"error: {source}, line 4: is not JSON: Expecting value at column 1. "
    message += "Hint: --errors skip leaves such lines out.\n"
    assert message == result.stderr
    assert (tmp_path / "out.parquet").read_bytes() == b"old"
    assert names(tmp_path) == ["in.jsonl", "out.parquet"]


@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_input_without_documents_is_refused(run, lines, tmp_path, errors):
    result = run("embed", lines(b"", b" "), "-o", "out.jsonl", "--errors", errors)

    assert result.exit_code == 2
    assert "there are no documents; nothing was written" in result.stderr
    assert names(tmp_path) == ["in.jsonl"]


def test_input_without_a_good_line_lists_the_bad_ones(run, lines, tmp_path):
    (tmp_path / "out.parquet").write_bytes(b"old")
    result = run("embed", lines(*BAD), "-o", "out.parquet", "--errors", "skip")

    assert result.exit_code == 1  # the third line is good where no other has its id
    result = run("embed", lines(*BAD[:2]), "-o", "old.parquet", "--errors", "skip")
    assert result.exit_code == 2
    assert "no line could be embedded; nothing was written" in result.stderr
    assert not (tmp_path / "old.parquet").exists()
    assert len((tmp_path / "old.parquet.errors.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_list_of_an_earlier_run_goes_when_all_is_well(run, lines, tmp_path, errors):
    run("embed", lines(*DOCUMENTS, *BAD), "-o", "out.jsonl", "--errors", "skip")
    assert run("embed", lines(*DOCUMENTS), "-o", "out.jsonl", "--errors", errors).exit_code == 0

    assert names(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_full_disk_leaves_the_old_file(run, lines, tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            raise OSError(28, "No space left on device")

        def __getattr__(self, name):
            return getattr(self.file, name)

    (tmp_path / "out.parquet").write_bytes(b"old")
    parquet_writer = writers.ParquetWriter
    monkeypatch.setattr(
        "ctxembed.files.parquet.ParquetWriter",
        lambda file, origin: parquet_writer(Full(file), origin),
    )
    result = run("embed", lines(*DOCUMENTS), "-o", "out.parquet")

    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path / 'out.parquet'}: No space left on device\n"
    assert (tmp_path / "out.parquet").read_bytes() == b"old"
    assert names(tmp_path) == ["in.jsonl", "out.parquet"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jsonl"], "missing.jsonl: No such file or directory"),
        (["."], ".: Is a directory"),
        (["in.jsonl", "-o", "out.csv"], "out.csv: the name has to end in .parquet or .jsonl."),
        (["in.jsonl", "-o", "no/out.jsonl"], "there is no folder no."),
        (["in.jsonl", "-o", "in.jsonl"], "in.jsonl would take the place of the input."),
        (["in.jsonl", "-o", "./link.jsonl"], "link.jsonl would take the place of the input."),
        (["x.jsonl.errors.jsonl", "-o", "x.jsonl"], "would take the place of the input."),
        (["in.jsonl", "-o", "folder.jsonl"], "folder.jsonl is a folder."),
        (["in.jsonl", "--errors", "ignore"], "errors is 'raise' or 'skip', got 'ignore'."),
        (["in.jsonl", "--dtype", "float16"], "float16 gives NaN with these models."),
        (["in.jsonl", "--dimensions", "17"], "dimensions is 17 and fake has 16."),
        (["in.jsonl", "--dimensions", "0"], "dimensions is a whole number from 1 up, got 0."),
        (["in.jsonl", "--encoding", "int4"], "encoding is one of 'int8', 'binary',"),
        (["in.jsonl", "--normalize", "--encoding", "binary"], "normalize makes no sense for"),
    ],
)
def test_refusal_is_one_line_that_leaves_everything_as_it_was(
    run, lines, tmp_path, arguments, message
):
    lines(*DOCUMENTS)
    lines(*DOCUMENTS, name="x.jsonl.errors.jsonl")
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    result = run("embed", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


@pytest.mark.parametrize("documents", [DOCUMENTS, [*DOCUMENTS, *BAD]])
def test_list_of_skipped_lines_never_takes_the_place_of_the_input(run, lines, tmp_path, documents):
    lines(*documents, name="ctxembed.errors.jsonl")
    before = (tmp_path / "ctxembed.errors.jsonl").read_bytes()
    result = run("embed", "ctxembed.errors.jsonl", "--errors", "skip")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "ctxembed.errors.jsonl would take the place of the input." in result.stderr
    assert (tmp_path / "ctxembed.errors.jsonl").read_bytes() == before


def test_input_with_the_name_of_that_list_is_read_where_none_is_written(run, lines, tmp_path):
    lines(*DOCUMENTS, name="ctxembed.errors.jsonl")

    assert run("embed", "ctxembed.errors.jsonl").exit_code == 0
    assert names(tmp_path) == ["ctxembed.errors.jsonl"]


def test_name_as_long_as_names_can_be(run, lines, tmp_path):
    name = "n" * 249 + ".jsonl"
    written = run("embed", lines(*DOCUMENTS), "-o", name)
    refused = run("embed", lines(*DOCUMENTS), "-o", f"n{name}")
    unlisted = run("embed", lines(*DOCUMENTS), "-o", name, "--errors", "skip")

    assert written.exit_code == 0, written.stderr
    assert [refused.exit_code, unlisted.exit_code] == [2, 2]
    assert "too long" in refused.stderr
    assert "too long" in unlisted.stderr
    assert names(tmp_path) == ["in.jsonl", name]


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.errors.jsonl"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX")
def test_pipe_is_no_place_for_a_file(run, lines, tmp_path, name):
    os.mkfifo(tmp_path / name)
    result = run("embed", lines(*DOCUMENTS), "-o", "out.jsonl", "--errors", "skip")

    assert result.exit_code == 2
    assert "is no regular file. Hint: name another file." in result.stderr


def test_zero_rows_of_packed_bits_are_refused(run, lines, tmp_path):
    options = ["--encoding", "ubinary", "--empty", "zero"]
    result = run("embed", lines(*DOCUMENTS), "-o", "out.parquet", *options)

    assert result.exit_code == 2
    assert "a zero row in packed bits looks like the vector of a text" in result.stderr
    assert "Hint: --encoding int8 or binary" in result.stderr
    assert names(tmp_path) == ["in.jsonl"]


def test_hint_and_summary_speak_as_the_command_line_does(run, lines):
    document = {"id": 'empty="zero"', "chunks": ["one", " "]}
    stopped = run("embed", lines(document))
    skipped = run("embed", lines(DOCUMENTS[1], document), "-o", "o.jsonl", "--errors", "skip")

    hint = (
        "is empty or only whitespace. Hint: drop it. --empty zero gives it a zero row, which a "
        "vector store may return as the best hit."
    )
    place = """line 1 (id 'empty="zero"'), chunk 1"""
    stops = f"{place}: {hint} --errors skip leaves such lines out.\n"
    assert stopped.stderr.endswith(stops)
    assert records("o.jsonl.errors.jsonl")[0]["reason"] == hint
    assert skipped.stderr.startswith("skipped 1 line, see ")
    assert "\n1 document, 1 chunk, 1 token read in " in skipped.stderr


def test_empty_chunks_may_be_zero_rows(run, lines):
    tale = {"id": "a", "chunks": ["one", " ", "two"]}
    result = run("embed", lines(tale), "-o", "out.parquet", "--empty", "zero")

    assert result.exit_code == 0
    rows = vectors(pq.read_table("out.parquet"))
    assert not rows[1].any()
    assert np.array_equal(expected_one(["one", " ", "two"]), rows)


def expected_one(chunks):
    return Embedder(FakeBackend(), Settings(empty="zero")).embed_documents([chunks])[0]


def test_progress_is_drawn_when_asked_for_and_not_on_a_pipe(run, lines):
    quiet = run("embed", lines(*DOCUMENTS), "-o", "out.jsonl")
    shown = run("embed", lines(*DOCUMENTS), "-o", "out.jsonl", "--progress")

    assert quiet.stderr.count("\n") == 1
    assert "3 documents, 6 chunks ━" in shown.stderr
    assert shown.stdout == ""


@pytest.mark.parametrize(("settings", "most"), [((), 250), (("--window-tokens", 40), 10)])
def test_texts_are_split_so_that_chunks_have_company(run, lines, settings, most):
    text = "Rivers rise at night. Nobody saw it happen. " * 60
    run("embed", lines({"id": "a", "text": text}), "-o", "o.parquet", *settings)
    sizes = [len(chunk.split()) for chunk in pq.read_table("o.parquet")["text"].to_pylist()]

    assert most - 4 <= max(sizes) <= most


@pytest.mark.parametrize("text", ["", " \n\t", "\0\0 "])
def test_a_text_without_text_gives_no_vectors_and_is_named(run, lines, text):
    """It stays in the output, so that nothing is lost; the others are written."""
    documents = [
        {"id": "a", "text": "One. Two."},
        {"id": "b", "text": text},
        {"id": "c", "text": "x"},
    ]
    result = run("embed", lines(*documents), "-o", "out.jsonl")

    assert result.exit_code == 0
    assert "1 document without text, and without vectors: line 2 (id 'b')" in result.stderr
    written = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [(each["id"], len(each["embeddings"]) > 0) for each in written] == [
        ("a", True),
        ("b", False),
        ("c", True),
    ]
    assert run("embed", lines(*documents), "-o", "out.parquet").exit_code == 0
    assert set(pq.read_table("out.parquet")["id"].to_pylist()) == {"a", "c"}


def test_many_texts_without_text_are_counted(run, lines):
    result = run(
        "embed", lines(*({"id": f"{n}", "text": ""} for n in range(7))), "-o", "o.parquet"
    )
    assert result.exit_code == 0
    assert "7 documents without text" in result.stderr
    assert "line 5 (id '4') and 2 more" in result.stderr
    assert pq.read_table("o.parquet").num_rows == 0
