"""For the command line's tests: a backend without weights behind it, and files to feed it."""

import json
import signal
import subprocess
import sys

import pytest

from ctxembed import embedder
from ctxembed.testing import FakeBackend

PROCESS = """
import os, sys, time
from ctxembed import embedder
from ctxembed.testing import FakeBackend

def pause(batch):
    for descriptor in {tell}:
        os.write(descriptor, b".")
    time.sleep({seconds})

embedder.open_backend = lambda *_: FakeBackend(fault=pause)
from ctxembed.cli import main
main()
"""


def heed_signals():
    """Undo in a child what `nohup` or a shell's `&` leaves behind: signals that are ignored."""
    for name in ("SIGINT", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.fixture
def fake(monkeypatch):
    """The backend that every command of this test opens."""
    backend = FakeBackend()
    monkeypatch.setattr(embedder, "open_backend", lambda *_: backend)
    return backend


@pytest.fixture
def run(fake, invoke):
    """Run a command in an empty folder, on the fake backend."""
    return invoke


@pytest.fixture
def lines(tmp_path):
    """Write lines to a file: bytes as they are, anything else as JSON."""

    def write(*values, name="in.jsonl"):
        path = tmp_path / name
        plain = [v if isinstance(v, bytes) else json.dumps(v).encode() for v in values]
        path.write_bytes(b"".join(line + b"\n" for line in plain))
        return path

    return write


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Start `ctxembed` on the fake backend as a process of its own, with 60 columns.

    A batch takes `seconds`; at its beginning a byte is written to each descriptor in `tell`.
    """
    monkeypatch.setenv("COLUMNS", "60")
    started = []

    def start(*arguments, seconds=0.0, tell=(), **options):
        code = PROCESS.format(seconds=seconds, tell=tell)
        given = {
            "pass_fds": tell,
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        started.append(
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
                cwd=tmp_path,
                **{"preexec_fn": heed_signals, **given, **options},
            )
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()
