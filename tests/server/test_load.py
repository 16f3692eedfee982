"""The server under everything at once: mixed clients, disconnects, sockets that say nothing.

    CTXEMBED_LOAD_SECONDS=600 python -m pytest -m slow tests/server/test_load.py     # 10 minutes

Every answer is right, memory stays under the figure in `docs/server.md`, and others are served.
"""

import base64
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.testing import FakeBackend
from ctxembed.wire import ENCODINGS

SECONDS = float(os.environ.get("CTXEMBED_LOAD_SECONDS", "25"))
CONTEXTUAL = "pplx-embed-context-v1-0.6b"
CLIENTS, SILENT = 64, 200
SPEC = ModelSpec(
    name="fake",
    dimensions=2560,
    max_tokens=32_768,
    contextual=True,
    quantizer="tanh",
    window_tokens=32_768,
    context_weight=1.0,
)
# the limit of descriptors leaves 128 for connections, fewer than there are clients and sockets
SERVER = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from ctxembed import ModelSpec, embedder
from ctxembed.testing import FakeBackend
embedder.open_backend = lambda *_: FakeBackend({SPEC!r}, record=False)
from ctxembed.cli import main
main()
"""
DOCUMENTS = [[f"chunk {c} of {d}" for c in range(1 + 5 * d)] for d in range(8)]
FLOOD = {"model": CONTEXTUAL, "encoding_format": "float", "input": [["a"] * 31] * 512}
LARGE = {"model": CONTEXTUAL, "encoding_format": "base64_int8", "input": [["a"] * 2000]}


def expected(wire_format):
    with Embedder(FakeBackend(SPEC), Settings(encoding=ENCODINGS[wire_format])) as embedder:
        return embedder.embed_documents(DOCUMENTS)


def decoded(embedding, wire_format):
    if wire_format == "float":
        return np.array(embedding, np.float32)
    raw = base64.b64decode(embedding)
    if wire_format != "base64_binary":
        return np.frombuffer(raw, np.int8 if wire_format == "base64_int8" else "<f4")
    return np.where(np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little"), 1, -1)


class Load:
    """Clients, each with a chance of its own, and what became of their requests."""

    def __init__(self, port):
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1/contextualizedembeddings"
        self.rows = {wire_format: expected(wire_format) for wire_format in ENCODINGS}
        self.counts = Counter()
        self.lock = threading.Lock()
        self.over = threading.Event()

    def client(self, seed):
        chance = random.Random(seed)
        with httpx.Client(timeout=120, transport=httpx.HTTPTransport(retries=5)) as http:
            while not self.over.is_set():
                try:
                    told = self.ask(http, chance)
                except httpx.TransportError as error:
                    told = type(error).__name__
                except BaseException as error:
                    self.count(f"WRONG {type(error).__name__}")
                    raise
                self.count(told)

    def ask(self, http, chance):
        kind = chance.random()
        if kind < 0.02:
            status = http.post(self.url, json=FLOOD).status_code
            assert status == 413
            return "flood refused"
        if kind < 0.04:
            answer = http.post(self.url, json=LARGE)
            assert answer.status_code in (200, 429)
            return f"large {answer.status_code}"
        number, wire_format = chance.randrange(len(DOCUMENTS)), chance.choice([*ENCODINGS])
        body = {"model": CONTEXTUAL, "input": [DOCUMENTS[number]], "encoding_format": wire_format}
        if kind < 0.1:
            self.hang_up(json.dumps(body).encode(), chance)
            return "hung up"
        answer = http.post(self.url, json=body)
        if answer.status_code == 429:
            return "429"
        (document,) = answer.json()["data"]
        rows = np.stack([decoded(each["embedding"], wire_format) for each in document["data"]])
        np.testing.assert_array_equal(rows, self.rows[wire_format][number])
        return "right"

    def hang_up(self, body, chance):
        head = (
            "POST /v1/contextualizedembeddings HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        sent = head.encode() + body
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            client.sendall(sent[: chance.randrange(1, len(sent) + 1)])

    def silent(self):
        """Keep many connections open that never send a whole head, new ones for those that end."""
        held = []
        while not self.over.is_set():
            if len(held) < SILENT:
                held.append(socket.create_connection(("127.0.0.1", self.port), timeout=60))
                held[-1].sendall(b"POST /v1")
            else:
                held.pop(0).close()
                self.over.wait(0.01)
        for each in held:
            each.close()

    def count(self, what):
        with self.lock:
            self.counts[what] += 1


def megabytes(pid, name):
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells the peak")
def test_every_answer_is_right_and_memory_is_bounded(tmp_path):
    command = [sys.executable, "-c", SERVER, "serve", "--port", "0"]
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(command, stderr=log, text=True) as process,
    ):
        try:
            while " ready: " not in (told := (tmp_path / "log").read_text()):
                assert process.poll() is None, told
                time.sleep(0.05)
            load = Load(int(re.search(r"http://127.0.0.1:(\d+)", told)[1]))
            before = megabytes(process.pid, "VmRSS")
            threads = [threading.Thread(target=load.client, args=(n,)) for n in range(CLIENTS)]
            threads.append(threading.Thread(target=load.silent))
            for thread in threads:
                thread.start()
            load.over.wait(SECONDS)
            load.over.set()
            for thread in threads:
                thread.join(150)
                assert not thread.is_alive()
            more = megabytes(process.pid, "VmHWM") - before
            assert httpx.get(f"http://127.0.0.1:{load.port}/ready").status_code == 200
        finally:
            process.terminate()
    print(f"{more:.0f} MiB more than before;", dict(load.counts))
    assert not [what for what in load.counts if what.startswith("WRONG")], load.counts
    assert load.counts["right"] > CLIENTS
    assert load.counts["flood refused"]
    assert more < 1024
