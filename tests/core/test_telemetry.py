"""Spans and metrics of calls for embeddings, as OpenTelemetry's SDK collects them."""

import asyncio
import subprocess
import sys
import textwrap
from contextlib import aclosing, closing

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from ctxembed import (
    BackendError,
    DocumentTooLongError,
    Embedder,
    Limits,
    ModelSpec,
    Settings,
)
from ctxembed.telemetry.embedding_call import embedding_call
from ctxembed.telemetry.metrics import _histogram
from ctxembed.telemetry.server_request import describe_request, server_request
from ctxembed.telemetry.trace import model_name, trace_headers
from ctxembed.testing import FakeBackend

DOCUMENTS = [["zebra crossing", "heron"], ["walrus"], ["okapi in the rain", "heron"]]
WORDS = ("zebra", "crossing", "heron", "walrus", "okapi", "rain", "tapir")
TOKENS = 11  # words, and the separator between two chunks


async def collect(stream):
    return [each async for each in stream]


CALLS = {
    "embed_documents": lambda embedder: embedder.embed_documents(DOCUMENTS),
    "aembed_documents": lambda embedder: asyncio.run(embedder.aembed_documents(DOCUMENTS)),
    "stream": lambda embedder: [*embedder.stream(iter(DOCUMENTS))],
    "astream": lambda embedder: asyncio.run(collect(embedder.astream(iter(DOCUMENTS)))),
}


def events(span, name):
    return [dict(event.attributes) for event in span.events if event.name == name]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_has_one_span_below_the_callers(collected, call):
    embedder = Embedder(FakeBackend(), Settings(dimensions=8))
    with collected.tracer.start_as_current_span("outer") as outer:
        call(embedder)

    span, _ = collected.spans
    assert (span.name, span.kind) == ("embeddings fake", SpanKind.INTERNAL)
    assert span.parent.span_id == outer.get_span_context().span_id
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "ctxembed",
        "gen_ai.request.model": "fake",
        "gen_ai.embeddings.dimension.count": 8,
        "gen_ai.usage.input_tokens": TOKENS,
        "ctxembed.documents": 3,
        "ctxembed.cached_documents": 0,
        "ctxembed.failed_documents": 0,
    }
    assert span.status.status_code == StatusCode.UNSET


@pytest.mark.parametrize("method", ["embed_query", "aembed_query"])
def test_queries_have_a_span_too(collected, method):
    found = getattr(Embedder(FakeBackend()), method)("tapir")
    if method == "aembed_query":
        asyncio.run(found)

    (span,) = collected.spans
    assert span.attributes["ctxembed.queries"] == 1
    assert span.attributes["gen_ai.usage.input_tokens"] == 1
    assert "ctxembed.documents" not in span.attributes


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_batch_is_an_event_and_runs_below_the_span(collected, call):
    """Threads and tasks have the call's span as their current one, and the caller never has."""
    current = []

    def note_span(_batch):
        current.append(trace.get_current_span().get_span_context())

    backend = FakeBackend(limits=Limits(batch_tokens=1, concurrency=3), fault=note_span)
    call(Embedder(backend))

    (span,) = collected.spans
    assert {each.span_id for each in current} == {span.context.span_id}
    batches = events(span, "ctxembed.batch")
    assert len(batches) == len(backend.batches) == len(current)
    assert sum(each["ctxembed.windows"] for each in batches) == len(DOCUMENTS)
    assert sum(each["ctxembed.tokens"] for each in batches) == TOKENS
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_stream_ends_its_span_when_it_is_closed(collected):
    embedder = Embedder(FakeBackend())
    with closing(embedder.stream(iter(DOCUMENTS))) as stream:
        next(stream)
        assert not trace.get_current_span().get_span_context().is_valid
        assert collected.spans == []

    (span,) = collected.spans
    assert span.status.status_code == StatusCode.UNSET
    assert "error.type" not in span.attributes


@pytest.mark.anyio
async def test_an_async_stream_ends_its_span_when_it_is_closed(collected):
    embedder = Embedder(FakeBackend())
    async with aclosing(embedder.astream(iter(DOCUMENTS))) as stream:
        await anext(stream)
        assert not trace.get_current_span().get_span_context().is_valid
        assert collected.spans == []

    (span,) = collected.spans
    assert "error.type" not in span.attributes


def test_a_stream_that_never_began_has_no_span(collected):
    Embedder(FakeBackend()).stream(iter(DOCUMENTS)).close()

    assert collected.spans == []


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_failed_call_says_how_and_not_what(collected, call):
    def fail(_batch):
        raise BackendError("okapi in /home/tapir")

    with pytest.raises(BackendError):
        call(Embedder(FakeBackend(fault=fail)))

    (span,) = collected.spans
    assert span.attributes["error.type"] == "BackendError"
    assert span.attributes["gen_ai.usage.input_tokens"] == 0
    assert span.attributes["ctxembed.failed_documents"] == len(DOCUMENTS)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert events(span, "ctxembed.batch")[0]["error.type"] == "BackendError"
    assert not any(word in collected.everything() for word in WORDS)
    (duration,) = collected.metrics()["gen_ai.client.operation.duration"]
    assert duration.attributes["error.type"] == "BackendError"


def test_a_document_that_is_returned_as_its_error_is_counted(collected):
    embedder = Embedder(FakeBackend(ModelSpec(name="m", dimensions=8, max_tokens=3)))
    found = [*embedder.stream([["heron"], ["a b c d e"]], errors="return")]

    assert isinstance(found[1], DocumentTooLongError)
    (span,) = collected.spans
    assert span.attributes["ctxembed.failed_documents"] == 1
    assert "error.type" not in span.attributes


@pytest.mark.anyio
async def test_a_cancelled_call_ends_its_span(collected):
    entered = asyncio.Event()

    class Slow(FakeBackend):
        async def aembed(self, batch):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(Embedder(Slow()).aembed_documents(DOCUMENTS))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    (span,) = collected.spans
    assert span.attributes["error.type"] == "CancelledError"
    assert events(span, "ctxembed.batch")[0]["error.type"] == "CancelledError"


def test_cached_documents_are_counted(collected, tmp_path):
    for _ in range(2):
        with Embedder(FakeBackend(), Settings(cache=str(tmp_path))) as embedder:
            embedder.embed_documents([*DOCUMENTS, DOCUMENTS[0]])

    first, second = collected.spans
    assert first.attributes["ctxembed.cached_documents"] == 1  # an equal document of this call
    assert second.attributes["ctxembed.cached_documents"] == 4
    assert second.attributes["gen_ai.usage.input_tokens"] == 0
    assert events(second, "ctxembed.cache") == [{"ctxembed.cached_documents": 4}]
    assert events(second, "ctxembed.batch") == []


def test_metrics_have_seconds_and_tokens(collected):
    embedder = Embedder(FakeBackend())
    embedder.embed_documents(DOCUMENTS)
    embedder.embed_query("tapir")

    found = collected.metrics()
    (duration,), (tokens,) = (
        found["gen_ai.client.operation.duration"],
        found["gen_ai.client.token.usage"],
    )
    assert (duration.count, tokens.count, tokens.sum) == (2, 2, TOKENS + 1)
    assert tokens.explicit_bounds[:3] == (1, 4, 16)
    assert duration.explicit_bounds[-1] == pytest.approx(81.92)
    common = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "ctxembed",
        "gen_ai.request.model": "fake",
    }
    assert duration.attributes == common
    assert tokens.attributes == common | {"gen_ai.token.type": "input"}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_text_is_exported(collected, call):
    embedder = Embedder(FakeBackend(limits=Limits(batch_tokens=2)))
    call(embedder)
    embedder.embed_query("tapir")
    exported = collected.everything()

    assert "embeddings fake" in exported
    assert not any(word in exported for word in WORDS)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("minilm", "minilm"),
        ("perplexity-ai/pplx-embed-v1-0.6b", "perplexity-ai/pplx-embed-v1-0.6b"),
        ("/home/alice/secret/model", "model"),
        ("/model/", "model"),
        ("./model", "model"),
        ("~/model", "model"),
        ("some/where/else", "else"),
        (r"C:\Users\alice\model", "model"),
    ],
)
def test_a_models_directory_is_named_by_its_last_part(name, shown):
    assert model_name(name) == shown


def test_the_address_of_an_api_has_no_more_than_host_and_port(collected):
    for address in ("https://api.example.com/tapir?walrus", "http://127.0.0.1:8080"):
        with embedding_call("m", 8, "documents", address):
            pass

    first, second = collected.spans
    assert first.kind == second.kind == SpanKind.CLIENT
    assert first.attributes["gen_ai.provider.name"] == "perplexity"
    assert first.attributes["server.address"] == "api.example.com"
    assert first.attributes["server.port"] == 443
    assert second.attributes["server.address"] == "127.0.0.1"
    assert second.attributes["server.port"] == 8080
    assert not any(word in collected.everything() for word in WORDS)


def test_an_older_api_takes_no_boundaries_of_buckets():
    class Meter:
        def create_histogram(self, name, unit):
            return name, unit

    assert _histogram(Meter(), "name", "s", [1.0]) == ("name", "s")


RUN = """
    from ctxembed import Embedder
    from ctxembed.testing import FakeBackend

    async def collect(stream):
        return [each async for each in stream]

    with Embedder(FakeBackend()) as embedder:
        embedder.embed_documents([["a", "b"], ["c"]])
        [*embedder.stream([["a"]])]
        asyncio.run(embedder.aembed_documents([["a"]]))
        asyncio.run(collect(embedder.astream([["a"]])))
        print(len(embedder.embed_query("a")))
"""
BLOCK = """
    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "opentelemetry":
                raise ModuleNotFoundError(name, name=name)

    sys.meta_path.insert(0, Blocker())
"""


@pytest.mark.parametrize("block", ["", BLOCK], ids=["no provider", "no package"])
def test_nothing_happens_without_a_provider_or_without_the_package(block):
    code = textwrap.dedent("    import asyncio, sys\n" + block + RUN)
    code += 'print("opentelemetry.trace" in sys.modules, "opentelemetry.sdk" in sys.modules)'
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    )

    assert done.stdout.split() == ["16", str(not block), "False"]
    assert done.stderr == ""


@pytest.mark.parametrize("status", [200, 503])
def test_a_servers_span_goes_on_with_the_clients_trace(collected, status):
    """The headers of a request name the parent; the answer is described when the request ends."""
    with collected.tracer.start_as_current_span("client") as client:
        carried = trace_headers()
        parent = client.get_span_context()
    known = f"00-{parent.trace_id:032x}-{parent.span_id:016x}-"
    assert carried["traceparent"].startswith(known)
    headers = [(name.encode(), value.encode()) for name, value in carried.items()]
    with server_request("POST", "/v1/embeddings", "http", headers) as request:
        describe_request("some/where/model", 8, 3, 1)
        request.tokens, request.status = 11, status

    span = next(each for each in collected.spans if each.kind is SpanKind.SERVER)
    assert span.name == "POST /v1/embeddings"
    assert span.context.trace_id == parent.trace_id
    assert span.parent.span_id == parent.span_id
    assert span.attributes["gen_ai.usage.input_tokens"] == 11
    assert span.attributes["ctxembed.documents"] == 3
    assert span.attributes["http.response.status_code"] == status
    failed = span.status.status_code is StatusCode.ERROR
    assert failed == (status == 503)


def test_a_servers_span_ends_with_the_error_of_its_request(collected):
    with pytest.raises(KeyError), server_request("BREW", None, "http", []):
        raise KeyError("a secret")

    (span,) = collected.spans
    assert span.name == "HTTP"
    assert span.attributes["error.type"] == "KeyError"
    assert "secret" not in span.to_json()
