"""For bulk: commands in this process, and a program that embeds without weights."""

import os
import subprocess
import sys

import pytest

from ctxembed import embedder
from ctxembed.testing import FakeBackend

PROGRAM = """
import os, sys, time
from ctxembed import embedder
from ctxembed.testing import FakeBackend

COUNTS, SECONDS = {counts!r}, {seconds!r}

def told(batch):
    with open(os.path.join(COUNTS, str(os.getpid())), "a") as file:
        file.write(str(len({{window.document for window in batch.windows}})) + "\\n")
    time.sleep(SECONDS)

embedder.open_backend = lambda *_: FakeBackend(fault=told, record=False)
{more}
if __name__ == "__main__":
    from ctxembed.cli import main
    main()
"""
"""Spawned workers run the top of it too, so that they have the same backend."""


@pytest.fixture
def backend(monkeypatch):
    """The backend that every command of this test opens."""
    made = FakeBackend()
    monkeypatch.setattr(embedder, "open_backend", lambda *_: made)
    return made


@pytest.fixture
def run(backend, invoke):
    """Run a command in an empty folder, on the fake backend."""
    return invoke


@pytest.fixture
def embedded(backend):
    """Count the documents that the model reads within a block."""
    return lambda: len({(id(b), w.document) for b in backend.batches for w in b.windows})


@pytest.fixture
def start(tmp_path):
    """Start `ctxembed` as a process group of its own; `counted` says what all of them embedded."""
    counts = tmp_path / "counts"
    counts.mkdir()
    started = []

    def call(*arguments, seconds=0.0, more=""):
        program = tmp_path / f"program-{len(started)}.py"
        program.write_text(PROGRAM.format(counts=str(counts), seconds=seconds, more=more))
        started.append(
            subprocess.Popen(
                [sys.executable, "-W", "error", str(program), *map(str, arguments)],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        )
        return started[-1]

    yield call
    for each in started:
        if each.poll() is None:
            os.killpg(each.pid, 9)
        each.communicate()


@pytest.fixture
def counted(tmp_path):
    """How many documents all processes so far have embedded."""

    def count():
        return sum(
            int(line)
            for path in (tmp_path / "counts").iterdir()
            for line in path.read_text().splitlines()
        )

    return count
