"""Traces through the server: it goes on with what its client began, and shows no text."""

import httpx
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from ctxembed import MODELS, BackendError, Embedder, Settings
from ctxembed.testing import FakeBackend

MODEL = "pplx-embed-context-v1-0.6b"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
DOCUMENTS = [["zebra crossing", "heron"], ["walrus"]]
WORDS = ("zebra", "crossing", "heron", "walrus")


def body(documents=DOCUMENTS):
    return {"model": MODEL, "input": documents}


def test_a_request_continues_the_trace_of_its_header(serve, collected):
    server = serve()
    reply = httpx.post(
        f"{server.url}/v1/contextualizedembeddings", json=body(), headers=TRACEPARENT
    )

    assert reply.status_code == 200
    (span,) = collected.wait_for_spans(1)
    assert (span.name, span.kind) == ("POST /v1/contextualizedembeddings", SpanKind.SERVER)
    assert format(span.context.trace_id, "032x") == TRACE
    assert format(span.parent.span_id, "016x") == PARENT
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/contextualizedembeddings",
        "url.path": "/v1/contextualizedembeddings",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "ctxembed",
        "gen_ai.request.model": "fake",
        "gen_ai.embeddings.dimension.count": 256,
        "gen_ai.usage.input_tokens": 5,
        "ctxembed.documents": 2,
        "ctxembed.cached_documents": 0,
    }
    assert not any(word in collected.everything() for word in WORDS)


@pytest.mark.parametrize("header", [{}, {"traceparent": "zebra"}, {"traceparent": "\xff"}])
def test_a_request_without_a_trace_begins_one(serve, collected, header):
    server = serve()
    headers = {name: value.encode("latin-1") for name, value in header.items()}
    reply = httpx.post(f"{server.url}/v1/contextualizedembeddings", json=body(), headers=headers)

    assert reply.status_code == 200
    (span,) = collected.wait_for_spans(1)
    assert span.parent is None
    assert not any(word in collected.everything() for word in WORDS)


@pytest.mark.parametrize("call", ["documents", "queries", "stream"])
def test_client_and_server_have_one_trace(serve, collected, call):
    """One process, two ends of a socket: the server's spans are the children of the client's."""
    server = serve(FakeBackend(MODELS[0]))
    with Embedder.open(model=MODEL, backend="api", base_url=server.url, api_key="k") as embedder:
        if call == "documents":
            embedder.embed_documents(DOCUMENTS)
        elif call == "queries":
            embedder.embed_query("walrus")
        else:
            list(embedder.stream(iter(DOCUMENTS)))

    collected.wait_for_spans(2)
    (client,) = collected.named("embeddings")
    answers = collected.named("POST")
    assert answers
    assert {span.context.trace_id for span in answers} == {client.context.trace_id}
    assert {span.parent.span_id for span in answers} == {client.context.span_id}
    assert all(span.parent.is_remote for span in answers)
    total = sum(span.attributes["gen_ai.usage.input_tokens"] for span in answers)
    assert client.attributes["gen_ai.usage.input_tokens"] == total
    assert not any(word in collected.everything() for word in WORDS)


def test_cached_documents_are_on_the_span(serve, collected, tmp_path):
    server = serve(settings=Settings(cache=str(tmp_path)))
    for _ in range(2):
        assert server.documents(DOCUMENTS).status_code == 200

    first, second = collected.wait_for_spans(2)
    assert first.attributes["ctxembed.cached_documents"] == 0
    assert second.attributes["ctxembed.cached_documents"] == 2


def test_a_failed_model_is_an_error_and_a_refusal_is_none(serve, collected):
    def fail(_batch):
        raise BackendError("zebra in /home/heron")

    server = serve(FakeBackend(MODELS[0], fault=fail))
    assert server.documents(DOCUMENTS).status_code == 500
    assert server.documents([]).status_code in {400, 422}

    failed, refused = collected.wait_for_spans(2)
    assert failed.attributes["error.type"] == "500"
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, None)
    assert refused.status.status_code == StatusCode.UNSET
    assert "error.type" not in refused.attributes
    assert not any(word in collected.everything() for word in WORDS)


def test_probes_have_no_span_and_foreign_paths_show_no_path(serve, collected):
    server = serve(api_key="k")
    for path in ("health", "ready", "metrics", "openapi.json"):
        assert httpx.get(f"{server.url}/{path}").status_code == 200
    headers = {"Authorization": "Bearer k"}
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
    assert collected.spans == []
    assert httpx.get(f"{server.url}/zebra?heron=walrus", headers=headers).status_code == 404
    assert httpx.request("WALRUS", f"{server.url}/zebra").status_code == 401

    missing, refused = collected.wait_for_spans(2)
    assert (missing.name, refused.name) == ("GET", "HTTP")
    assert refused.attributes["http.request.method"] == "_OTHER"
    assert refused.attributes["http.response.status_code"] == 401
    exported = collected.everything().lower()
    assert not any(word in exported for word in (*WORDS, "bearer"))
