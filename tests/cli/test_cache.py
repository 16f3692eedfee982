"""`ctxembed cache`, and `ctxembed embed --cache`: what is printed, and what stays in the folder."""

import json
import os
import re
import sqlite3
from contextlib import closing

import pytest

from ctxembed.cache.sqlite_file import FILE_NAME

DOCUMENTS = [{"id": f"{n}", "chunks": [f"chunk {n}", "another"]} for n in range(20)]


def test_a_second_run_reads_what_changed(run, fake, lines):
    first = run("embed", lines(*DOCUMENTS), "--cache", "vectors")
    assert "20 documents, 40 chunks" in first.stderr
    assert "not read again" not in first.stderr
    fake.batches.clear()
    changed = [*DOCUMENTS[:7], {"id": "7", "chunks": ["new"]}, *DOCUMENTS[8:]]

    second = run("embed", lines(*changed), "--cache", "vectors")

    assert "19 documents not read again" in second.stderr
    assert len(fake.windows) == 1
    assert run("embed", lines(*changed)).stdout == second.stdout


def test_info_prune_and_clear(run, lines):
    run("embed", lines(*DOCUMENTS), "--cache", "vectors")
    told = dict(line.split("\t") for line in run("cache", "info", "vectors").stdout.splitlines())
    assert told["documents"] == "20"
    assert int(told["bytes"].replace(",", "")) > 4096
    assert list(told) == ["documents", "bytes", "oldest use", "newest use"]

    assert run("cache", "prune", "vectors", "--days", "1").stdout == "0 documents removed\n"
    assert run("cache", "prune", "vectors", "--days", "0").stdout == "20 documents removed\n"
    run("embed", lines(*DOCUMENTS), "--cache", "vectors")
    assert run("cache", "prune", "vectors", "--bytes", "0").stdout == "20 documents removed\n"
    run("embed", lines(*DOCUMENTS), "--cache", "vectors")
    assert run("cache", "clear", "vectors").stdout == "vectors is empty\n"
    assert "documents\t0\n" in run("cache", "info", "vectors").stdout


def test_what_is_no_cache_is_said(run, tmp_path):
    for command in (["info"], ["clear"], ["prune", "--days", "1"]):
        done = run("cache", command[0], "nothing", *command[1:])
        assert done.exit_code == 2
        assert "nothing holds no vector cache" in done.stderr
    assert not (tmp_path / "nothing").exists()
    done = run("cache", "prune", "nothing")
    assert "--bytes 1000000000, or --days 30" in done.stderr


def test_a_damaged_file_names_the_way_out(run, fake, lines, tmp_path):
    run("embed", lines(*DOCUMENTS), "--cache", "vectors")
    (tmp_path / "vectors" / FILE_NAME).write_bytes(b"nonsense" * 1000)
    done = run("cache", "info", "vectors")
    assert done.exit_code == 2
    assert "Hint: ctxembed cache clear vectors" in done.stderr
    assert run("embed", lines(*DOCUMENTS), "--cache", "vectors").exit_code == 0
    assert run("cache", "clear", "vectors").exit_code == 0
    fake.batches.clear()
    run("embed", lines(*DOCUMENTS), "--cache", "vectors")
    assert (
        "20 documents not read again"
        in run("embed", lines(*DOCUMENTS), "--cache", "vectors").stderr
    )


def test_another_process_that_writes_is_said(run, lines, tmp_path, monkeypatch):
    """A cache that is in use for a while is no damaged one, and clearing it helps nobody."""
    run("embed", lines(*DOCUMENTS), "--cache", "vectors")
    monkeypatch.setattr("ctxembed.cache.sqlite_file.SECONDS_FOR_A_LOCK", 0.01)
    path = tmp_path / "vectors" / FILE_NAME
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for command in (["clear"], ["prune", "--days", "0"]):
            done = run("cache", command[0], "vectors", *command[1:])
            assert done.exit_code == 2
            assert "cannot be used now (database is locked). Hint: run this again" in done.stderr
    assert "documents\t20\n" in run("cache", "info", "vectors").stdout


def test_a_database_of_another_program_is_not_removed(run, tmp_path):
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / FILE_NAME
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
        connection.commit()
    before = path.read_bytes()
    done = run("cache", "clear", "mine")
    assert done.exit_code == 2
    assert "is a database of another program" in done.stderr
    assert path.read_bytes() == before


def test_a_killed_run_computes_no_finished_document_again(process, lines, tmp_path):
    """It is killed in its sixth batch of two documents: those of four batches are kept by then."""
    documents = [{"id": f"{n}", "chunks": ["word " * 900, f"{n}"]} for n in range(16)]
    reading, writing = os.pipe()
    child = process("embed", lines(*documents), "--cache", "vectors", tell=(writing,), seconds=0.1)
    os.close(writing)
    began = b""
    while len(began) < 6:
        began += os.read(reading, 1) or pytest.fail("the process has ended")
    os.close(reading)
    child.kill()
    child.wait()

    again = process("embed", lines(*documents), "--cache", "vectors", "--out", "out.jsonl")
    _, told = again.communicate(timeout=60)
    assert again.returncode == 0
    assert re.search(rb"(8|10) documents not read again", told.replace(b"\n", b" "))
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [each["id"] for each in written] == [each["id"] for each in documents]
