"""What INPUT may be: lines, compressed or not, Parquet, texts, directories, patterns, a stream."""

import gzip
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulk_files import contents, documents, expected, write_lines

LINES = "".join(f"{json.dumps(each)}\n" for each in documents(5))


def as_lines(folder):
    (folder / "in.jsonl").write_text(LINES)
    return "in.jsonl"


def as_gzip(folder):
    (folder / "in.jsonl.gz").write_bytes(gzip.compress(LINES.rstrip("\n").encode()))
    return "in.jsonl.gz"


def as_zstandard(folder):
    with pa.output_stream(str(folder / "in.jsonl.zst"), compression="zstd") as stream:
        stream.write(LINES.encode())
    return "in.jsonl.zst"


def as_parquet(folder):
    pq.write_table(pa.Table.from_pylist(documents(5)), folder / "in.parquet")
    return "in.parquet"


def as_parts(folder):
    (folder / "parts/deep").mkdir(parents=True)
    write_lines(folder / "parts/a.jsonl", documents(2))
    pq.write_table(pa.Table.from_pylist(documents(3, start=2)), folder / "parts/deep/b.parquet")
    (folder / "parts/.hidden.jsonl").write_text("nonsense")
    (folder / "parts/_SUCCESS").touch()
    return "parts"


def as_pattern(folder):
    as_parts(folder)
    return "parts/**/*.*"


@pytest.mark.parametrize(
    "write", [as_lines, as_gzip, as_zstandard, as_parquet, as_parts, as_pattern]
)
def test_every_kind_gives_the_same_rows(run, tmp_path, write):
    result = run("embed", write(tmp_path), "-o", "vectors")

    assert result.exit_code == 0, result.stderr
    assert contents(tmp_path / "vectors") == expected(documents(5))


@pytest.mark.parametrize("write", [as_lines, as_gzip, as_zstandard, as_parquet])
def test_every_kind_of_file_goes_into_a_file(run, tmp_path, write):
    result = run("embed", write(tmp_path), "-o", "out.parquet")

    assert result.exit_code == 0, result.stderr
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == [
        f"d{n // 2}" for n in range(10)
    ]


def test_standard_input_is_read_once_and_continued(run, embedded, tmp_path):
    for count in (3, 5):
        text = "".join(f"{json.dumps(each)}\n" for each in documents(count))
        result = run("embed", "-", "-o", "vectors", stdin=text)
        assert result.exit_code == 0, result.stderr

    assert embedded() == 5
    assert contents(tmp_path / "vectors") == expected(documents(5))


def test_texts_have_their_path_as_id(run, tmp_path):
    (tmp_path / "notes/more").mkdir(parents=True)
    (tmp_path / "notes/a.md").write_text("\ufeffOne two.", encoding="utf-8")
    (tmp_path / "notes/more/b.txt").write_text("Three.")
    assert run("embed", "notes", "-o", "vectors").exit_code == 0
    assert run("embed", "notes/a.md", "-o", "named").exit_code == 0

    assert contents(tmp_path / "vectors").keys() == {("a.md", 0), ("more/b.txt", 0)}
    assert contents(tmp_path / "vectors")["a.md", 0][0] == "One two."
    assert contents(tmp_path / "named").keys() == {("notes/a.md", 0)}


def test_output_inside_the_input_is_not_read(run, tmp_path):
    write_lines(tmp_path / "in.jsonl", documents(3))
    for _ in range(2):
        result = run("embed", ".", "-o", "vectors")
        assert result.exit_code == 0, result.stderr

    assert contents(tmp_path / "vectors") == expected(documents(3))


def test_ids_in_parquet_may_be_numbers_and_texts_may_be_given(run, tmp_path):
    rows = {"id": [7, 8], "text": ["One.", "Two."], "chunks": [None, None]}
    table = pa.table({**rows, "chunks": pa.array(rows["chunks"], pa.list_(pa.string()))})
    pq.write_table(table, tmp_path / "in.parquet")
    assert run("embed", "in.parquet", "-o", "vectors").exit_code == 0

    assert contents(tmp_path / "vectors").keys() == {("7", 0), ("8", 0)}


def bad_row(folder):
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["x", None]}), folder / "in.parquet")


def no_column(folder):
    pq.write_table(pa.table({"id": ["a"], "body": ["x"]}), folder / "in.parquet")


def damaged(folder):
    as_parquet(folder)
    data = bytearray((folder / "in.parquet").read_bytes())
    data[4:60] = bytes(56)
    (folder / "in.parquet").write_bytes(data)


def cut_off(folder):
    as_gzip(folder)
    data = (folder / "in.jsonl.gz").read_bytes()
    (folder / "in.jsonl.gz").write_bytes(data[: len(data) // 2])


def mixed(folder):
    (folder / "both").mkdir()
    (folder / "both/a.jsonl").touch()
    (folder / "both/readme.md").touch()


def nothing(folder):
    (folder / "none").mkdir()
    (folder / "none/a.pdf").touch()


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("in.parquet", bad_row, 'in.parquet, row 2 (id \'b\'): has neither "chunks" nor "text".'),
        ("in.parquet", no_column, "in.parquet has no column 'chunks'. Hint: a row is a document"),
        ("in.parquet", damaged, "in.parquet is not a Parquet file, or damaged."),
        ("in.jsonl.gz", cut_off, "in.jsonl.gz cannot be decompressed: it is damaged or cut off."),
        ("both", mixed, "both has texts (.txt, .md) beside files of documents."),
        ("none", nothing, "none has no documents. Hint: .jsonl, .ndjson, .gz, .zst, .parquet,"),
        ("a*.jsonl", lambda _: None, "a*.jsonl matches no file."),
        ("no.jsonl", lambda _: None, "no.jsonl: No such file or directory"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(run, backend, tmp_path, name, write, message):
    write(tmp_path)
    result = run("embed", name, "-o", "vectors")

    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr
    assert not backend.batches


ARRAY = json.dumps(documents(2))
PRETTY = json.dumps(documents(1)[0], indent=2)
TABLE = "id,text\na,hello\n"


@pytest.mark.parametrize("out", ["vectors", "out.parquet"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("a.jsonl", ARRAY), ("a.json", PRETTY), ("a.csv", TABLE), ("a.txt.jsonl", TABLE)],
)
def test_other_formats_are_told_what_a_line_is_and_how_to_convert(run, tmp_path, name, text, out):
    (tmp_path / name).write_text(text)
    result = run("embed", name, "-o", out)

    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "one JSON object per line" in result.stderr


@pytest.mark.parametrize(("name", "text"), [("a.json", ARRAY), ("a.csv", TABLE)])
def test_conversion_that_a_message_names_works(run, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    line = run("embed", name, "-o", "vectors").stderr
    command = line[line.index("python -c") :].strip().replace("FILE", name, 1)
    command = command.replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    result = run("embed", "documents.jsonl", "-o", "vectors")

    assert result.exit_code == 0, result.stderr
