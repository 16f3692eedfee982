"""Spans of calls over the API: what the server is told, and what a retry leaves."""

import asyncio
import json

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from ctxembed import AuthenticationError, Embedder

MODEL = "pplx-embed-context-v1-0.6b"
DOCUMENTS = [["zebra crossing", "heron"], ["walrus"]]
WORDS = ("zebra", "heron", "walrus", "secret-key")


def opened(**options):
    return Embedder.open(backend="api", **({"model": MODEL, "dimensions": 128} | options))


def sent_spans(api):
    """Return the trace and the span that each request says it belongs to, as hexadecimal."""
    lowered = [{name.lower(): value for name, value in each.items()} for each in api.headers]
    return [tuple(headers["traceparent"].split("-")[1:3]) for headers in lowered]


@pytest.mark.parametrize("sync", [True, False])
def test_requests_continue_the_trace_of_their_call(api, collected, sync):
    with opened() as embedder, collected.tracer.start_as_current_span("outer") as outer:
        if sync:
            embedder.embed_documents(DOCUMENTS)
        else:
            asyncio.run(embedder.aembed_documents(DOCUMENTS))

    span, _ = collected.spans
    own = (format(span.context.trace_id, "032x"), format(span.context.span_id, "016x"))
    assert set(sent_spans(api)) == {own}
    assert span.parent.span_id == outer.get_span_context().span_id
    assert (span.name, span.kind) == (f"embeddings perplexity-ai/{MODEL}", SpanKind.CLIENT)
    assert span.attributes["gen_ai.provider.name"] == "perplexity"
    assert span.attributes["server.address"] == "127.0.0.1"
    assert isinstance(span.attributes["server.port"], int)


def test_the_servers_figure_of_tokens_is_the_spans(api, collected):
    with opened() as embedder:
        embedder.embed_documents(DOCUMENTS)
        embedder.embed_documents(DOCUMENTS)
        used = embedder.usage.tokens

    first, second = (span.attributes["gen_ai.usage.input_tokens"] for span in collected.spans)
    assert (first, second, used) == (4, 4, 8)


def test_a_retry_is_an_event(api, collected):
    """It has the status, the kind of error and the wait that follows."""
    api.next = [lambda handler, body: handler.answer(429, json.dumps({"error": "zebra"}))]
    with opened() as embedder:
        embedder.embed_documents(DOCUMENTS)

    (span,) = collected.spans
    (retry,) = [event for event in span.events if event.name == "ctxembed.retry"]
    found = dict(retry.attributes)
    assert 0 < found.pop("ctxembed.wait") < 1
    assert found == {
        "error.type": "RateLimitError",
        "ctxembed.attempt": 1,
        "http.response.status_code": 429,
    }
    assert span.status.status_code == StatusCode.UNSET
    assert len(api.requests) == 2


def test_a_refusal_ends_the_span_and_shows_no_key(api, collected):
    api.always = lambda handler, body: handler.answer(401, json.dumps({"error": "zebra"}))
    with opened() as embedder, pytest.raises(AuthenticationError):
        embedder.embed_documents(DOCUMENTS)

    (span,) = collected.spans
    assert span.attributes["error.type"] == "AuthenticationError"
    assert not any(word in collected.everything() for word in WORDS)


def test_without_a_trace_no_header_is_sent(api):
    with opened() as embedder:
        embedder.embed_documents(DOCUMENTS)

    assert "traceparent" not in {name.lower() for each in api.headers for name in each}
