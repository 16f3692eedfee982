"""Servers on loopback sockets, over a backend without a model unless a test brings another."""

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import httpx
import pytest

from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.server import create_app
from ctxembed.server.listener import Listener, bind
from ctxembed.testing import FakeBackend

SPEC = ModelSpec(
    name="fake",
    dimensions=256,
    max_tokens=40_000,
    contextual=True,
    quantizer="tanh",
    window_tokens=40_000,
    context_weight=1.0,
)
CONTEXTUAL = "pplx-embed-context-v1-0.6b"
PLAIN = "pplx-embed-v1-0.6b"


@dataclass
class Running:
    """A server, where it is, and what it runs."""

    url: str
    app: object
    listener: Listener
    embedder: Embedder

    @property
    def backend(self):
        return self.embedder.backend

    def post(self, route, **body):
        return httpx.post(f"{self.url}/v1/{route}", json=body, timeout=30)

    def documents(self, documents, **body):
        asked = {"model": CONTEXTUAL, "input": documents} | body
        return self.post("contextualizedembeddings", **asked)

    def texts(self, texts, **body):
        return self.post("embeddings", **({"model": PLAIN, "input": texts} | body))


@contextmanager
def running(app, embedder):
    """Run an application in a thread, on a free port, until the block ends."""
    listener = Listener(app, grace=5)
    with bind("127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=listener.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: listener.started)
            yield Running(url, app, listener, embedder)
        finally:
            listener.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def until(condition, seconds=20):
    """Wait for a condition that other threads make true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


@pytest.fixture
def serve():
    """Start servers that end with the test: `serve(backend, spec=..., **options of create_app)`."""
    with ExitStack() as stack:

        def start(backend=None, settings=None, *, spec=None, ready=True, opener=None, **options):
            backend = backend or FakeBackend(replace(SPEC, **(spec or {})))
            embedder = Embedder(backend, settings or Settings())
            app = create_app(opener or embedder, **options)
            server = stack.enter_context(running(app, embedder))
            if ready:
                until(lambda: httpx.get(f"{server.url}/ready").status_code == 200)
            return server

        yield start


@pytest.fixture
def wait_until():
    return until
