"""Servers on loopback sockets, over a backend without a model unless a test brings another."""

import asyncio
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue

import httpx
import pytest

from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.server import create_app
from ctxembed.server.dispatcher import Dispatcher
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


class Connections(set):
    """The open connections of a server, which tells of those that end."""

    def __init__(self):
        super().__init__()
        self.ended = SimpleQueue()

    def discard(self, connection):
        super().discard(connection)
        self.ended.put(None)


class Watched(Listener):
    """A listener that tells when it has started, and when connections have ended."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.up = threading.Event()
        self.server_state.connections = Connections()

    def wait_for_ended_connections(self, count):
        """Return when so many more connections have ended, and their descriptors are closed."""
        for _ in range(count):
            self.server_state.connections.ended.get(timeout=20)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(20)

    async def startup(self, sockets=None):
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.up.set()


@contextmanager
def running(app, embedder):
    """Run an application in a thread, on a free port, until the block ends."""
    listener = Watched(app, grace=5)
    with bind("127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=listener.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            assert listener.up.wait(20)
            yield Running(url, app, listener, embedder)
        finally:
            listener.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def loaded_event(lifecycle):
    """Return an event that is set when the model is open, or has failed to open."""
    loaded, load = threading.Event(), lifecycle._load

    def load_and_tell():
        load()
        loaded.set()

    lifecycle._load = load_and_tell
    return loaded


class Hold:
    """A fault that keeps the model busy from its first batch until it is opened.

    Batches after the first meet `fault`.
    """

    def __init__(self):
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.fault = lambda batch: None

    def __call__(self, batch):
        first = not self.entered.is_set()
        self.entered.set()
        assert self.opened.wait(20)
        return None if first else self.fault(batch)


@dataclass
class QueueEvents:
    """The number of held tokens, for every request that enters or leaves the queue of a server."""

    entered: SimpleQueue
    left: SimpleQueue

    def wait_entered(self, count):
        for _ in range(count):
            self.entered.get(timeout=20)

    def wait_left(self, count):
        for _ in range(count):
            self.left.get(timeout=20)


@pytest.fixture
def serve():
    """Start servers that end with the test: `serve(backend, spec=..., **options of create_app)`."""
    with ExitStack() as stack:

        def start(backend=None, settings=None, *, spec=None, ready=True, opener=None, **options):
            backend = backend or FakeBackend(replace(SPEC, **(spec or {})))
            embedder = Embedder(backend, settings or Settings())
            app = create_app(opener or embedder, **options)
            loaded = loaded_event(app.state.lifecycle)
            server = stack.enter_context(running(app, embedder))
            if ready:
                assert loaded.wait(20)
                assert httpx.get(f"{server.url}/ready").status_code == 200
            return server

        yield start


@pytest.fixture
def hold():
    """A `Hold` that is opened when the test ends, before its servers do."""
    made = Hold()
    yield made
    made.opened.set()


@pytest.fixture
def queue_events(monkeypatch):
    events = QueueEvents(SimpleQueue(), SimpleQueue())
    submit = Dispatcher.submit

    def submit_and_tell(self, windows, recipe):
        future = submit(self, windows, recipe)
        events.entered.put(self.held)
        # the queue's own callback was added first, so it has let go of the tokens by then
        future.add_done_callback(lambda _: events.left.put(self.held))
        return future

    monkeypatch.setattr(Dispatcher, "submit", submit_and_tell)
    return events
