"""`ctxembed status`, and `search` in a directory: what is there, and what is said of the rest."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulk_files import documents, write_lines


@pytest.fixture
def directory(run, tmp_path):
    """Thirty documents in three shards."""
    write_lines(tmp_path / "in.jsonl", documents(30))
    result = run("embed", "in.jsonl", "-o", "vectors", "--shard-documents", "10")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "vectors"


def table(result):
    return dict(line.split("\t", 1) for line in result.stdout.splitlines())


def test_status_tells_what_is_there(run, directory):
    result = run("status", "vectors")
    found = table(result)

    assert result.exit_code == 0
    assert (found["documents"], found["chunks"], found["shards"]) == ("30", "60", "3")
    assert found["settings"] == '{"model": "perplexity-ai/pplx-embed-context-v1-0.6b"}'
    assert (found["encoding"], found["model kind"], found["dimensions"]) == ("int8", "fake", "16")


def test_status_names_missing_and_damaged_shards(run, directory):
    first, second, _ = sorted((directory / "data").iterdir())
    first.unlink()
    second.write_bytes(b"nonsense")
    result = run("status", "vectors")
    found = table(result)

    assert result.exit_code == 1
    assert found["missing"] == first.name
    assert found["damaged"].startswith(f"vectors/data/{second.name} is damaged.")


def test_status_of_an_input_tells_what_a_run_would_do(run, directory, backend, tmp_path):
    count = len(backend.batches)
    given = [*documents(2, version=1), *documents(20)[2:], *documents(3, start=90)]
    write_lines(tmp_path / "new.jsonl", given)
    result = run("status", "vectors", "--input", "new.jsonl")

    assert result.exit_code == 0, result.stderr
    assert table(result) == {
        "new": "3",
        "changed": "2",
        "not in the input": "10",
        "as they were": "18",
        "to embed": "5",
    }
    assert len(backend.batches) == count


@pytest.mark.parametrize("command", [["status", "."], ["search", "x", "--in", "."]])
def test_directory_without_vectors_is_said(run, tmp_path, command):
    result = run(*command)

    assert result.exit_code == 2
    assert "error: . holds no vectors. Hint: ctxembed embed INPUT -o ./ makes them." in (
        result.stderr
    )


def test_search_reads_every_shard(run, directory):
    hits = [
        run("search", f"chunk {n} version 0", "--in", "vectors", "-k", "60").stdout.splitlines()
        for n in (3, 17)
    ]

    assert [len(each) for each in hits] == [60, 60]
    assert len({line.split("\t")[1] for line in hits[0]}) == 30


def test_search_says_which_shards_are_missing(run, directory):
    (directory / "data/part-00001-of-00003.parquet").unlink()
    result = run("search", "x", "--in", "vectors")

    assert result.exit_code == 0
    assert result.stderr == "note: 1 shard missing in vectors\n"


def test_search_refuses_a_shard_of_other_settings(run, directory, tmp_path):
    run("embed", "in.jsonl", "-o", "other", "--shard-documents", "10", "--normalize")
    name = "data/part-00002-of-00003.parquet"
    (tmp_path / "other" / name).replace(directory / name)
    result = run("search", "x", "--in", "vectors")

    assert result.exit_code == 2
    assert f"vectors/{name} is not of this directory" in result.stderr


def rewritten(path, change):
    stored = pq.read_table(path)
    pq.write_table(change(stored).replace_schema_metadata(stored.schema.metadata), path)


def variable_lists(stored):
    number = stored.schema.names.index("embedding")
    column = stored["embedding"].combine_chunks().cast(pa.list_(pa.int8()))
    return stored.set_column(number, "embedding", column)


def numbers_as_ids(stored):
    return stored.set_column(0, "id", pa.array(range(len(stored))))


def shorter_vectors(stored):
    number = stored.schema.names.index("embedding")
    return stored.set_column(number, "embedding", pa.array([[1, 2]] * len(stored)))


@pytest.mark.parametrize("change", [variable_lists, numbers_as_ids])
def test_file_that_another_program_wrote_is_searched(run, tmp_path, change):
    write_lines(tmp_path / "in.jsonl", documents(3))
    run("embed", "in.jsonl", "-o", "o.parquet")
    before = run("search", "x", "--in", "o.parquet").stdout
    rewritten(tmp_path / "o.parquet", change)
    result = run("search", "x", "--in", "o.parquet")

    assert result.exit_code == 0, result.stderr
    scores = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert scores == [line.split("\t")[0] for line in before.splitlines()]


def test_file_with_other_columns_is_refused_in_one_line(run, tmp_path):
    write_lines(tmp_path / "in.jsonl", documents(3))
    run("embed", "in.jsonl", "-o", "o.parquet")
    rewritten(tmp_path / "o.parquet", shorter_vectors)
    result = run("search", "x", "--in", "o.parquet")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: o.parquet is damaged, or was written by another")


def test_metadata_that_cannot_be_read_is_refused_in_one_line(run, tmp_path):
    write_lines(tmp_path / "in.jsonl", documents(3))
    run("embed", "in.jsonl", "-o", "o.parquet")
    stored = pq.read_table(tmp_path / "o.parquet")
    deep = {**stored.schema.metadata, b"ctxembed.settings": b"[" * 100_000}
    pq.write_table(stored.replace_schema_metadata(deep), tmp_path / "o.parquet")
    result = run("search", "x", "--in", "o.parquet")

    assert result.exit_code == 2
    assert "o.parquet names settings that this version does not know." in result.stderr
