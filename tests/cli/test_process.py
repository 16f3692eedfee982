"""`ctxembed` as a process: streams, exit codes, signals and pipes."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
from functools import partial

import pytest

from ctxembed.version import VERSION

LINES = b"".join(
    json.dumps({"id": str(n), "chunks": ["some words", "others"]}).encode() + b"\n"
    for n in range(5000)
)
FEW_LINES = b"".join(LINES.splitlines(keepends=True)[:100])


@pytest.fixture
def batches():
    """A pipe, through which a process tells of the beginning of its batches."""
    ours, theirs = os.pipe()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def wait_for_batch(pipe):
    """Return when a batch has begun."""
    ready, _, _ = select.select([pipe], [], [], 30)
    assert ready, "no batch has begun"
    os.read(pipe, 1)


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "ctxembed", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(VERSION)


def test_standard_input_to_standard_output(process):
    out, err = process("embed", "-").communicate(LINES)

    found = [json.loads(line) for line in out.splitlines()]
    assert [document["id"] for document in found] == [str(n) for n in range(5000)]
    assert err.startswith(b"5,000 documents, 10,000 chunks, 20,000 tokens read in ")
    assert err.count(b"\n") == 1


@pytest.mark.parametrize(
    ("lines", "errors", "code"),
    [
        (FEW_LINES, "raise", 0),
        (FEW_LINES + b"nonsense\n", "skip", 1),
        (FEW_LINES + b"nonsense\n", "raise", 2),
        (b"nonsense\n", "skip", 2),
    ],
)
def test_exit_code_tells_how_much_was_written(process, tmp_path, lines, errors, code):
    started = process("embed", "-", "-o", "out.parquet", "--errors", errors)
    out, err = started.communicate(lines)

    assert started.returncode == code
    assert out == b""
    assert b"Traceback" not in err
    assert (tmp_path / "out.parquet").exists() == (code < 2)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_interrupted_run_leaves_the_old_file_and_no_other(
    process, batches, tmp_path, name, code, errors
):
    (tmp_path / "out.parquet").write_bytes(b"old")
    ours, theirs = batches
    options = {"seconds": 0.02, "tell": [theirs]}
    started = process("embed", "-", "-o", "out.parquet", "--errors", errors, **options)
    started.stdin.write(LINES)
    started.stdin.flush()
    wait_for_batch(ours)
    assert any(tmp_path.glob(".ctxembed-*.part"))
    started.send_signal(getattr(signal, name))
    out, err = started.communicate(timeout=30)

    assert started.returncode == code
    assert out == b""
    assert err == (b"stopped\n" if name == "SIGINT" else b"")
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]
    assert (tmp_path / "out.parquet").read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_nohup_runs_on_when_the_terminal_closes(process, batches, tmp_path):
    ours, theirs = batches
    ignore = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    started = process("embed", "-", "-o", "out.jsonl", preexec_fn=ignore, tell=[theirs])
    started.stdin.write(LINES)
    started.stdin.flush()
    wait_for_batch(ours)
    assert any(tmp_path.glob(".ctxembed-*.part"))
    started.send_signal(signal.SIGHUP)
    started.communicate(timeout=30)

    assert started.returncode == 0
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 5000


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX")
@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_reader_that_stops_reading_is_no_error(process, tmp_path, errors):
    (tmp_path / "in.jsonl").write_bytes(LINES)
    started = process("embed", "in.jsonl", "--errors", errors)
    assert started.stdout.readline().startswith(b'{"id":"0"')
    started.stdout.close()
    err = started.stderr.read()
    started.stdout = None
    started.wait(30)

    assert err == b""
    assert started.returncode == 141
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110 - read before any test
def test_full_standard_output_is_one_line(process):
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - as above
        started = process("embed", "-", stdout=full)
        _, err = started.communicate(LINES)

    assert started.returncode == 2
    assert err == b"error: No space left on device\n"


def test_missing_extra_is_one_line_with_what_to_install(process, tmp_path):
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no', name='typer')")
    started = process("--help")
    out, err = started.communicate()

    assert (started.returncode, out) == (2, b"")
    assert err == (
        b"error: this needs typer, which is not installed. "
        b'Run: python -m pip install "ctxembed[cli]"\n'
    )


@pytest.fixture
def terminal():
    """A terminal to run in, and what came out of it."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()

    def output():
        os.close(theirs)
        found = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while data := os.read(ours, 4096):
                found += data
        os.close(ours)
        return found.decode().replace("\r\n", "\n")

    return theirs, output


def test_terminal_shows_progress_and_summary(process, terminal):
    theirs, output = terminal
    started = process("embed", "-", "-o", "out.parquet", stderr=theirs)
    started.communicate(LINES)
    shown = output()

    assert "5,000 documents, 10,000 chunks " in shown
    assert "━" in shown
    assert "\n5,000 documents, 10,000 chunks, 20,000 tokens read in " in shown.replace(
        "\x1b[?25h", ""
    )


def test_terminal_shows_hits_as_a_table_of_its_width(process, terminal):
    tale = {"id": "a", "chunks": ["word " * 100, "[bold]markup[/bold] of a chunk"]}
    process("embed", "-", "-o", "out.parquet").communicate(json.dumps(tale).encode())
    theirs, output = terminal
    process("search", "x", "--in", "out.parquet", stdout=theirs).communicate()
    head, *rows = re.sub(r"\x1b\[[0-9;]*m", "", output()).splitlines()

    assert head.split() == ["cosine", "id", "chunk", "text"]
    assert sorted(row.split()[1:4] for row in rows) == [
        ["a", "0", "word"],
        ["a", "1", "[bold]markup[/bold]"],
    ]
    assert max(map(len, rows)) == 60
    assert any(row.endswith("…") for row in rows)


def test_terminal_shows_models_with_their_notes_below(process, terminal):
    theirs, output = terminal
    process("models", stdout=theirs).communicate()
    shown = output()

    assert "\nminilm " in shown
    assert "\nminilm: all-MiniLM-L6-v2 as ONNX" in shown
