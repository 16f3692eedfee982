"""A server on loopback that speaks the API's wire, and misbehaves when told to."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

WIDTHS = {
    "pplx-embed-context-v1-0.6b": 1024,
    "pplx-embed-context-v1-4b": 2560,
    "pplx-embed-v1-0.6b": 1024,
    "pplx-embed-v1-4b": 2560,
}


@lru_cache(maxsize=1024)
def digest(document):
    return blake2b(json.dumps(document).encode()).digest()


def truth(document, chunk, dimensions):
    """Return the codes of a chunk: of its place, and of all chunks of its document."""
    name = digest(tuple(document)) + b"%d " % chunk
    seed = b"".join(
        blake2b(name + bytes([block]), digest_size=64).digest()
        for block in range(-(-dimensions // 64))
    )
    return np.frombuffer(seed, np.int8)[:dimensions].clip(-127)


def encoded(codes, wire_format):
    if wire_format == "base64_int8":
        return base64.b64encode(codes.tobytes()).decode()
    return base64.b64encode(np.packbits(codes >= 0, bitorder="little").tobytes()).decode()


def reply(path, body):
    """Return the body of a right answer, shuffled at both levels as the API is free to do."""
    dimensions = body.get("dimensions", WIDTHS[body["model"]])
    wire_format = body.get("encoding_format", "base64_int8")
    contextual = path == "/v1/contextualizedembeddings"
    assert contextual == ("context" in body["model"])
    documents = body["input"] if contextual else [[text] for text in body["input"]]
    assert len(documents) <= 512
    data = [
        {
            "object": "list",
            "index": number,
            "data": [
                {
                    "object": "embedding",
                    "index": chunk,
                    "embedding": encoded(truth(document, chunk, dimensions), wire_format),
                }
                for chunk in reversed(range(len(document)))
            ],
        }
        for number, document in enumerate(documents)
    ]
    if not contextual:
        data = [{**item["data"][0], "index": item["index"]} for item in data]
    tokens = sum(len(chunk.split()) for document in documents for chunk in document)
    return {
        "object": "list",
        "data": data[1:] + data[:1],
        "model": body["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


class Api:
    """The server's side: what came in, and what to do with the next requests.

    `next` holds functions of (handler, body) that answer in place of the server, or return None to
    let it answer. `always` is asked when `next` is empty. `models` takes the place of what it says
    of its models, after so many refusals as `loading` says. `threads` are those of all connections
    so far.
    """

    def __init__(self):
        self.requests = []
        self.headers = []
        self.next = []
        self.always = None
        self.models = None
        self.loading = 0
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        self.came = threading.Condition(self.lock)
        self.closing = threading.Event()
        self.threads = []

    def misbehaviour(self):
        with self.lock:
            return self.next.pop(0) if self.next else self.always

    def wait_for_requests(self, count):
        """Return when so many requests have come."""
        with self.came:
            found = self.came.wait_for(lambda: len(self.requests) >= count, 30)
        assert found, f"{len(self.requests)} of {count} requests came"

    def wait_for_threads(self):
        """Return when the threads of all connections have ended: the client has closed them."""
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "the client keeps a connection open"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: Api

    def log_message(self, *_):
        pass

    def do_GET(self):
        """Tell what is behind the names, as a server of one's own does."""
        facts = {"fingerprint": "f", "max_chunk_tokens": 32_768, "usual_chunk_tokens": 256}
        known = {"data": [{"id": name, "dimensions": WIDTHS[name], **facts} for name in WIDTHS]}
        told = known if self.api.models is None else self.api.models
        if self.api.loading:
            self.api.loading -= 1
            self.answer(503, "{}")
        else:
            self.answer(200, json.dumps(told))

    def do_POST(self):
        api = self.api
        size = int(self.headers["content-length"])
        content = self.rfile.read(size)
        if len(content) < size:  # the client gave up in the middle of its request
            self.close_connection = True
            return
        body = json.loads(content)
        with api.lock:
            api.requests.append((time.monotonic(), self.path, body))
            api.headers.append(dict(self.headers.items()))
            api.under_way += 1
            api.most_under_way = max(api.most_under_way, api.under_way)
            api.came.notify_all()
        try:
            fault = api.misbehaviour()
            if fault is None or fault(self, body) is None:
                self.answer(200, json.dumps(reply(self.path, body)))
        finally:
            with api.lock:
                api.under_way -= 1

    def answer(self, status, text, *, kind="application/json", headers=()):
        content = text.encode() if isinstance(text, str) else text
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        return True

    def wait_for_hang_up(self):
        """Return when the client has ended the connection without an answer."""
        self.connection.settimeout(30)
        try:
            more = self.rfile.read(1)
        except ConnectionError:
            more = b""
        except TimeoutError:
            raise AssertionError("the client still waits for an answer") from None
        assert not more, "the client sent more before it had an answer"
        self.close_connection = True
        return True

    def cut(self):
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        return True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def process_request_thread(self, request, client_address):
        self.RequestHandlerClass.api.threads.append(threading.current_thread())
        super().process_request_thread(request, client_address)


@contextmanager
def serving(state):
    """Give the address of a server on loopback that answers as `state` says."""
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"api": state}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def api(monkeypatch):
    """Return a running server; its address is in PERPLEXITY_BASE_URL, a key in the environment."""
    monkeypatch.setattr("ctxembed.backends.api.retries.FIRST_WAIT", 0.005)
    state = Api()
    with serving(state) as address:
        monkeypatch.setenv("PERPLEXITY_BASE_URL", address)
        monkeypatch.setenv("PERPLEXITY_API_KEY", "secret-key")
        yield state
