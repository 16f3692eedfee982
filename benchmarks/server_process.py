"""A server in a process of its own, for the benchmarks of it, and a plain client for one document.

    python benchmarks/server_process.py --model minilm      # as the benchmarks start it

A simulated device sleeps 4 ms per call, and as long as its tokens take. The rest of the time is
what the server itself costs.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from ctxembed import MODELS, embedder
from ctxembed.batches import Batch, Limits
from ctxembed.cli.serve import serve
from ctxembed.testing import FakeBackend

ALIAS = "bench"
_ROUTE = "/v1/contextualizedembeddings"
_PATIENCE = 120
_WORDS = sorted(
    set(re.findall(r"[a-z]{4,}", f"{__doc__} {json.__doc__} {argparse.__doc__}".lower()))
)


def documents(count: int, seed: int = 0) -> list[list[str]]:
    """Return documents of 1 to 8 chunks, 10 to 80 words each."""
    chance = random.Random(seed)
    return [
        [
            " ".join(chance.choices(_WORDS, k=chance.randint(10, 80)))
            for _ in range(chance.randint(1, 8))
        ]
        for _ in range(count)
    ]


@contextmanager
def server(
    model: str, *, simulate: int = 0, cores: set[int] | None = None
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Start a server on a free port, on some of the cores, and wait until it is ready."""
    command = [sys.executable, __file__, "--model", model, "--simulate", str(simulate)]
    if cores:
        command += ["--cores", *map(str, sorted(cores))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        port = int(process.stderr.readline().partition(" ")[0].rpartition(":")[2])
        threading.Thread(target=process.stderr.read, daemon=True).start()
        end = time.monotonic() + _PATIENCE
        while ask(connect(port), "GET", "/ready")[0] != 200:
            if time.monotonic() > end:
                sys.exit("the server was never ready")
            time.sleep(0.1)
        yield port, process
    finally:
        process.terminate()
        process.wait(90)


def connect(port: int) -> HTTPConnection:
    """Return a connection that gives up after two minutes."""
    return HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)


def ask(
    connection: HTTPConnection, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes]:
    """Return status and body."""
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, response.read()


def embed(connection: HTTPConnection, body: bytes) -> tuple[int, bytes]:
    """Return status and body of an answer to `request_body`."""
    return ask(connection, "POST", _ROUTE, body)


def hang_up(connection: HTTPConnection, body: bytes) -> None:
    """Ask, and go away before the answer."""
    connection.request("POST", _ROUTE, body, {"Content-Type": "application/json"})
    connection.close()


def request_body(document: list[str]) -> bytes:
    """Return the body that asks for one document."""
    return json.dumps({"model": ALIAS, "input": [document]}).encode()


def rows_of(body: bytes) -> np.ndarray:
    """Return the int8 rows of the only document of an answer."""
    (document,) = json.loads(body)["data"]
    rows = [np.frombuffer(base64.b64decode(r["embedding"]), np.int8) for r in document["data"]]
    return np.stack(rows)


def processor_seconds(pid: int) -> float:
    """Return the seconds of CPU that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Simulated(FakeBackend):
    """A device that takes time and no processor, behind the spec of the smallest official model."""

    def __init__(self, rate: int) -> None:
        super().__init__(MODELS[0], Limits(batch_tokens=32_768), record=False)
        self.rate = rate

    def embed(self, batch: Batch) -> list[np.ndarray]:
        time.sleep(0.004 + sum(window.tokens for window in batch.windows) / self.rate)
        return super().embed(batch)


def simulate(rate: int) -> None:
    """Open simulated devices in place of models from now on, in this process."""
    embedder.open_backend = lambda *_: Simulated(rate)


def main() -> None:
    """Be the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--simulate", type=int, default=0)
    parser.add_argument("--cores", type=int, nargs="+")
    arguments = parser.parse_args()
    if arguments.cores:
        os.sched_setaffinity(0, arguments.cores)
    if arguments.simulate:
        simulate(arguments.simulate)
    serve(model=arguments.model, port=0, alias=[ALIAS])


if __name__ == "__main__":
    main()
