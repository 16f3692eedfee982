"""`ctxembed embed` into a directory: what is there, what is embedded again, what is refused."""

import errno
import fcntl
import json
import os
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bulk_files import contents, documents, expected, write_lines

from ctxembed.bulk import shard, updating


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "in.jsonl", documents(30))


@pytest.fixture
def embed(run, source):
    """Embed the source into `vectors`, in shards of about ten documents."""

    def call(*options, code=0, shards=10):
        result = run("embed", source, "-o", "vectors", "--shard-documents", shards, *options)
        assert result.exit_code == code, result.stderr
        return result

    return call


def test_rows_are_those_of_the_embedder(embed, tmp_path):
    result = embed()

    assert contents(tmp_path / "vectors") == expected(documents(30))
    assert result.stderr.startswith("30 documents embedded, 60 chunks, ")
    assert result.stderr.endswith("vectors: 30 documents in 3 shards\n")


def test_summary_says_what_the_model_did_not_read(embed, run, source, tmp_path):
    """Cached documents, and those whose chunks have rows already, are not said to be embedded."""
    embed("--cache", "cache")
    again = run("embed", source, "-o", "others", "--cache", "cache")
    assert again.stderr.startswith("0 documents embedded, 60 chunks, 0 tokens read in ")
    assert "30 not read again, 0 as they were" in again.stderr

    copies = [{**each, "id": each["id"] + " copy"} for each in documents(30)]
    write_lines(source, documents(30) + copies)
    more = run("embed", source, "-o", "others")
    assert more.stderr.startswith("0 documents embedded, 0 chunks, 0 tokens read in ")
    assert "30 from rows that were here already, 30 as they were" in more.stderr
    assert "others: 60 documents in" in more.stderr


def test_directory_holds_shards_and_nothing_is_left_over(embed, tmp_path):
    embed()

    assert names(tmp_path / "vectors") == ["ctxembed.json", "data", "lock", "tmp"]
    assert names(tmp_path / "vectors/data") == [f"part-0000{n}-of-00003.parquet" for n in range(3)]
    assert names(tmp_path / "vectors/tmp") == []


def test_second_run_embeds_nothing_and_writes_nothing(embed, embedded, tmp_path):
    embed()
    data = tmp_path / "vectors/data"
    before = {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
    count = embedded()
    embed()

    assert embedded() == count == 30
    assert before == {path.name: path.stat().st_mtime_ns for path in data.iterdir()}


def test_update_embeds_what_was_edited_and_added_and_keeps_what_is_gone(
    embed, embedded, source, tmp_path
):
    embed()
    old = documents(30)
    new = documents(3, start=100) + documents(2, version=1) + old[5:]
    write_lines(source, new)
    embed()

    assert embedded() == 30 + 5
    assert contents(tmp_path / "vectors") == expected(new + old[2:5])


def test_prune_removes_what_is_not_in_the_input(embed, embedded, source, tmp_path):
    embed()
    write_lines(source, documents(20))
    result = embed("--prune")

    assert embedded() == 30
    assert contents(tmp_path / "vectors") == expected(documents(20))
    assert "10 removed" in result.stderr


def test_moved_and_repeated_chunks_are_not_embedded_again_within_a_shard(run, embedded, tmp_path):
    write_lines(tmp_path / "in.jsonl", documents(4))
    run("embed", "in.jsonl", "-o", "vectors")
    renamed = [{**each, "id": f"new {each['id']}"} for each in documents(4)]
    write_lines(tmp_path / "in.jsonl", renamed)
    result = run("embed", "in.jsonl", "-o", "vectors", "--prune")

    assert result.exit_code == 0, result.stderr
    assert embedded() == 4
    assert contents(tmp_path / "vectors") == expected(renamed)


def test_order_in_a_shard_does_not_depend_on_how_it_came_about(embed, run, source, tmp_path):
    write_lines(source, documents(9))
    embed(shards=40)
    write_lines(source, documents(30))
    embed(shards=40)
    run("embed", source, "-o", "once", "--shard-documents", "40")
    (grown,), (once,) = ((tmp_path / name / "data").iterdir() for name in ("vectors", "once"))

    assert pq.read_table(grown).equals(pq.read_table(once))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--encoding", "float"], "encoding 'int8', not 'float'"),
        (["--dimensions", "8"], "dimensions None, not 8"),
        (["--shard-documents", "7"], "was made with --shard-documents 10, not 7"),
        (["--chunk-tokens", "9"], "was made with --chunk-tokens 250, not 9"),
        (["--keep", "year"], "was made with --keep nothing, not year"),
    ],
)
def test_other_settings_are_refused_with_both_values(embed, tmp_path, options, message):
    embed()
    before = contents(tmp_path / "vectors")
    result = embed(*options, code=2)

    assert message in result.stderr
    assert contents(tmp_path / "vectors") == before


def test_other_weights_under_the_same_settings_are_refused(embed, source, backend):
    embed()
    write_lines(source, documents(31))
    backend.identity = replace(backend.identity, variant="bfloat16")
    result = embed(code=2)

    assert "model variant '', not 'bfloat16'" in result.stderr


def test_settings_that_change_no_document_are_taken(embed, source, embedded):
    embed()
    write_lines(source, documents(31))
    embed("--query-prefix", "query: ", "--long-chunks", "pool")

    assert embedded() == 31


def test_id_that_is_there_twice_is_named_with_both_places(run, backend, tmp_path):
    write_lines(tmp_path / "a.jsonl", documents(3))
    write_lines(tmp_path / "b.jsonl", documents(3, start=2))
    result = run("embed", "a.jsonl", "b.jsonl", "-o", "vectors")

    assert result.exit_code == 2
    assert "b.jsonl, line 1 (id 'd2'): its id is on line 3 of a.jsonl already." in result.stderr
    assert not backend.batches


def test_first_of_two_documents_with_one_id_is_taken_where_the_other_is_skipped(run, tmp_path):
    twice = [{"id": "a", "chunks": ["first"]}, {"id": "a", "chunks": ["second"]}]
    write_lines(tmp_path / "in.jsonl", twice)
    result = run("embed", "in.jsonl", "-o", "vectors", "--errors", "skip")

    assert result.exit_code == 1
    assert contents(tmp_path / "vectors") == expected(twice[:1])


BAD = [
    {"id": "blank", "chunks": ["x", " "]},
    {"id": "long", "chunks": ["word " * 1001]},
]


def test_bad_documents_are_listed_tried_again_and_then_no_more(embed, embedded, source, tmp_path):
    write_lines(source, [*BAD, *documents(20)])
    result = embed("--errors", "skip", code=1)
    listed = [
        json.loads(line) for line in (tmp_path / "vectors/errors.jsonl").read_text().splitlines()
    ]

    assert "skipped 2 documents, see vectors/errors.jsonl" in result.stderr
    assert [(each["file"], each["line"], each["id"], each["error"]) for each in listed] == [
        (str(source), 1, "blank", "EmptyChunkError"),
        (str(source), 2, "long", "DocumentTooLongError"),
    ]
    assert contents(tmp_path / "vectors") == expected(documents(20))
    count = embedded()
    embed("--errors", "skip", code=1)
    assert embedded() == count
    write_lines(source, [{"id": "blank", "chunks": ["mended"]}, *documents(20)])
    embed()
    assert not (tmp_path / "vectors/errors.jsonl").exists()
    assert ("blank", 0) in contents(tmp_path / "vectors")


def test_first_bad_line_ends_the_run_before_anything_is_embedded(embed, source, backend):
    write_lines(source, [*documents(20), BAD[0]])
    result = embed(code=2)

    assert result.stderr.startswith(f"error: {source}, line 21 (id 'blank'), chunk 1: is empty")
    assert not backend.batches


def test_what_only_the_model_refuses_keeps_the_shards_before_it(embed, source, tmp_path):
    write_lines(source, [*documents(20), BAD[1]])
    result = embed(code=2, shards=1)
    found = contents(tmp_path / "vectors")

    assert f"{source}, line 21 (id 'long'), chunk 0: has 1001 tokens" in result.stderr
    assert found
    assert found.items() <= expected(documents(20)).items()


def test_changed_document_that_cannot_be_embedded_loses_its_old_rows(embed, source, tmp_path):
    embed()
    write_lines(source, [{**BAD[1], "id": "d0"}, *documents(30)[1:]])
    embed("--errors", "skip", code=1)

    assert contents(tmp_path / "vectors") == expected(documents(30)[1:])


def test_text_is_cut_and_its_change_is_noticed(run, embedded, tmp_path):
    texts = [{"id": "a", "text": "One two. Three four."}, {"id": "b", "text": "Five."}]
    write_lines(tmp_path / "in.jsonl", [*texts, {"id": "c", "text": " "}])
    options = ("in.jsonl", "-o", "vectors", "--chunk-tokens", "2")
    result = run("embed", *options)
    run("embed", *options)

    assert "1 without text" in result.stderr
    assert embedded() == 2
    cut = [{"id": "a", "chunks": ["One two.", "Three four."]}, {"id": "b", "chunks": ["Five."]}]
    assert contents(tmp_path / "vectors") == expected(cut)
    write_lines(tmp_path / "in.jsonl", [{"id": "a", "text": ""}, texts[1]])
    assert run("embed", *options).exit_code == 0
    assert embedded() == 2
    assert contents(tmp_path / "vectors") == expected(cut[1:])


def test_kept_columns_are_carried_along_and_changed_without_embedding(run, embedded, tmp_path):
    rows = {
        "id": ["a", "b", "c"],
        "chunks": [["x"], ["y", "z"], ["w"]],
        "year": [1999, 2001, None],
        "day": pa.array([1, 2, 3], pa.date32()),
    }
    options = ("in.parquet", "-o", "vectors", "--keep", "year", "--keep", "day")
    pq.write_table(pa.table(rows), tmp_path / "in.parquet")
    first = run("embed", *options)
    pq.write_table(pa.table(rows | {"year": [1999, 2002, None]}), tmp_path / "in.parquet")
    second = run("embed", *options)
    (path,) = (tmp_path / "vectors/data").iterdir()
    table = pq.read_table(path)

    assert (first.exit_code, second.exit_code) == (0, 0), second.stderr
    assert embedded() == 3
    found = {(row["id"], row["year"], row["day"].isoformat()) for row in table.to_pylist()}
    assert found == {
        ("a", 1999, "1970-01-02"),
        ("b", 2002, "1970-01-03"),
        ("c", None, "1970-01-04"),
    }
    assert (table["year"].type, table["day"].type) == (pa.int64(), pa.date32())


def test_kept_values_of_lines_have_their_type_and_others_are_refused(run, tmp_path):
    given = [{**each, "n": 1.5, "tags": ["x"], "on": True} for each in documents(2)]
    write_lines(tmp_path / "in.jsonl", given)
    options = ("in.jsonl", "-o", "vectors", *("--keep", "n", "--keep", "tags", "--keep", "on"))
    assert run("embed", *options).exit_code == 0
    (path,) = (tmp_path / "vectors/data").iterdir()
    (row, *_) = pq.read_table(path).to_pylist()
    assert (row["n"], row["tags"], row["on"]) == (1.5, '["x"]', True)
    write_lines(tmp_path / "in.jsonl", [{**each, "n": "much"} for each in given])
    result = run("embed", *options)
    assert result.exit_code == 2
    assert "a value to keep is no double" in result.stderr


def test_damaged_shard_is_named_and_made_again_when_it_is_removed(embed, embedded, tmp_path):
    embed()
    path = tmp_path / "vectors/data/part-00001-of-00003.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    result = embed(code=2)
    assert f"{path.relative_to(tmp_path)} is damaged." in result.stderr
    path.unlink()
    embed()

    assert contents(tmp_path / "vectors") == expected(documents(30))
    assert 30 < embedded() < 60


def test_flipped_byte_in_rows_is_never_taken_over(embed, source, tmp_path):
    embed(shards=40)
    (path,) = (tmp_path / "vectors/data").iterdir()
    column = pq.ParquetFile(path).metadata.row_group(0).column(3)
    assert column.path_in_schema == "embedding.list.element"
    place = column.data_page_offset + column.total_compressed_size // 4
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    write_lines(source, documents(31))
    result = embed(code=2, shards=40)

    assert "is damaged" in result.stderr


def test_shard_of_another_directory_is_noticed(run, embed, source, tmp_path):
    embed()
    run("embed", source, "-o", "other", "--shard-documents", "10", "--encoding", "float")
    name = "data/part-00000-of-00003.parquet"
    (tmp_path / "other" / name).replace(tmp_path / "vectors" / name)
    result = embed(code=2)

    assert f"vectors/{name} is not of this directory" in result.stderr


def test_reshard_moves_rows_without_embedding(embed, embedded, source, tmp_path):
    write_lines(source, documents(4))
    embed(shards=4)
    write_lines(source, documents(40))
    grown = embed(shards=4)
    result = embed("--reshard", shards=4)

    assert "--reshard spreads them over more" in grown.stderr
    assert "1 shard became 10" in result.stderr
    assert embedded() == 40
    assert len(names(tmp_path / "vectors/data")) == 10
    assert contents(tmp_path / "vectors") == expected(documents(40))


def test_reshard_that_was_killed_between_its_renames_is_finished(embed, tmp_path):
    embed()
    root = tmp_path / "vectors"
    (root / "tmp/123").mkdir()
    (root / "data").rename(root / "tmp/123/resharded")
    embed()

    assert contents(root) == expected(documents(30))
    assert names(root / "tmp") == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("full", "full holds other files than vectors."),
        ("in.jsonl/", "in.jsonl is a file."),
        ("a.b", "a.b: the name has to end in .parquet or .jsonl."),
    ],
)
def test_directory_that_is_none_of_ours_is_refused(run, source, tmp_path, out, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    result = run("embed", "in.jsonl", "-o", out)

    assert result.exit_code == 2
    assert message in result.stderr
    assert names(tmp_path / "full") == ["file"]


def test_prune_is_refused_where_an_id_cannot_be_read(embed, source, tmp_path):
    embed()
    with source.open("a") as file:
        file.write("nonsense\n")
    result = embed("--prune", "--errors", "skip", code=2)

    assert "--prune would remove documents whose lines cannot be read" in result.stderr
    assert contents(tmp_path / "vectors") == expected(documents(30))


def test_empty_input_changes_nothing(embed, source, tmp_path):
    embed()
    source.write_text("\n")
    result = embed("--prune", code=2)

    assert "no documents: there are none." in result.stderr
    assert contents(tmp_path / "vectors") == expected(documents(30))


def test_file_that_changes_while_it_is_read_is_named(embed, source, backend, monkeypatch):
    opened = shard.read_listing

    def changed(*given):
        write_lines(source, documents(30, version=2))
        return opened(*given)

    embed()
    write_lines(source, documents(30, version=1))
    monkeypatch.setattr(updating, "read_listing", changed)
    result = embed(code=2)

    assert f"{source} changed while it was read." in result.stderr


def test_full_disk_names_the_file_and_keeps_the_old_shard(embed, source, tmp_path, monkeypatch):
    embed(shards=40)
    write_lines(source, documents(31))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shard, "write_table", full)
    result = embed(code=2, shards=40)

    name = "vectors/data/part-00000-of-00001.parquet"
    assert result.stderr == f"error: {name}: No space left on device\n"
    assert contents(tmp_path / "vectors") == expected(documents(30))
    assert names(tmp_path / "vectors/tmp") == []


def test_file_system_without_links_gets_its_manifest_by_a_rename(embed, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    embed()

    assert contents(tmp_path / "vectors") == expected(documents(30))


def test_file_system_without_locks_is_refused(embed, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    result = embed(code=2)

    assert "vectors cannot hold shards: files there cannot be locked (No locks" in result.stderr


@pytest.mark.parametrize("name", ["--workers=2", "--prune", "--reshard", "--keep=x"])
def test_options_of_a_directory_are_refused_for_a_file(run, source, name):
    result = run("embed", "in.jsonl", "-o", "out.parquet", name)

    assert result.exit_code == 2
    assert f"{name.partition('=')[0]} is for a directory as OUT." in result.stderr
