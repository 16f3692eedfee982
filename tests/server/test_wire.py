"""Every route and every refusal over a real socket, in the shapes that the vendor documents."""

import asyncio
import base64
import json
import re
import threading
from queue import SimpleQueue

import httpx
import numpy as np
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import Mount

from ctxembed import ConfigurationError, Embedder, NonFiniteError, Settings
from ctxembed.server import create_app
from ctxembed.server.schemas import ContextualizedRequest, EmbeddingsRequest
from ctxembed.testing import FakeBackend

CONTEXTUAL = "pplx-embed-context-v1-0.6b"
PLAIN = "pplx-embed-v1-0.6b"
JSON = {"Content-Type": "application/json"}
DOCUMENTS = [["one two", "three"], ["four"], ["one two", "three", "one two"]]


def decoded(embedding, kind=np.int8):
    return np.frombuffer(base64.b64decode(embedding, validate=True), kind)


def refused(response, status, kind, words=""):
    """Check an `error` body and return its message."""
    assert response.status_code == status
    (problem,) = response.json().values()
    assert problem["type"] == kind
    assert problem["code"] == (status if status == 401 else str(status))
    assert words in problem["message"]
    return problem["message"]


@pytest.mark.parametrize("dimensions", [None, 128, 255, 256])
def test_int8_codes_are_those_of_an_embedder(serve, dimensions):
    server = serve()
    given = {} if dimensions is None else {"dimensions": dimensions}
    got = server.documents(DOCUMENTS, **given).json()
    embedder = Embedder(FakeBackend(server.backend.spec), Settings(dimensions=dimensions))
    for document, rows in zip(got["data"], embedder.embed_documents(DOCUMENTS), strict=True):
        for chunk, row in zip(document["data"], rows, strict=True):
            np.testing.assert_array_equal(decoded(chunk["embedding"]), row)


@pytest.mark.parametrize("dimensions", [None, 129])
def test_bits_are_those_of_an_embedder_in_the_wire_order(serve, dimensions):
    server = serve()
    given = {} if dimensions is None else {"dimensions": dimensions}
    got = server.documents(DOCUMENTS, encoding_format="base64_binary", **given).json()
    settings = Settings(encoding="binary", dimensions=dimensions)
    embedder = Embedder(FakeBackend(server.backend.spec), settings)
    for document, rows in zip(got["data"], embedder.embed_documents(DOCUMENTS), strict=True):
        for chunk, row in zip(document["data"], rows, strict=True):
            bits = np.unpackbits(
                decoded(chunk["embedding"], np.uint8), count=len(row), bitorder="little"
            )
            np.testing.assert_array_equal(np.where(bits, 1, -1), row)


def test_floats_are_those_of_an_embedder(serve):
    server = serve()
    (document,) = server.documents([["one", "two"]], encoding_format="float").json()["data"]
    embedder = Embedder(FakeBackend(server.backend.spec), Settings(encoding="float"))
    (rows,) = embedder.embed_documents([["one", "two"]])
    got = np.array([chunk["embedding"] for chunk in document["data"]], np.float32)
    np.testing.assert_array_equal(got, rows)


def test_texts_are_embedded_each_alone(serve):
    server = serve()
    got = server.texts(["one two", "three", "one two"]).json()
    embedder = Embedder(FakeBackend(server.backend.spec))
    rows = embedder.embed_queries(["one two", "three", "one two"])
    for each, row in zip(got["data"], rows, strict=True):
        np.testing.assert_array_equal(decoded(each["embedding"]), row)


def test_one_text_is_a_list_of_one(serve):
    server = serve()
    assert server.texts("one two").json() == server.texts(["one two"]).json()


def test_the_answer_echoes_the_model_and_tells_the_real_one(serve):
    server = serve(aliases=["mine"])
    response = server.documents([["one"]], model="mine")
    assert response.json()["model"] == "mine"
    assert response.headers["x-ctxembed-model"] == "fake"
    assert response.headers["x-ctxembed-fingerprint"] == server.embedder.fingerprint
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


def test_usage_counts_separators(serve):
    usage = serve().documents([["one two", "three"], ["four"]]).json()["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] == 5


def test_usage_counts_chunks_once_where_windows_overlap(serve):
    server = serve(settings=Settings(window_tokens=8, overlap_tokens=4))
    usage = server.documents([["a b"] * 10]).json()["usage"]
    assert usage["total_tokens"] == 29


def test_usage_counts_chunks_once_where_the_second_pass_is_mixed_in(serve):
    server = serve(settings=Settings(context_weight=0.5))
    assert server.documents([["a b"] * 10]).json()["usage"]["total_tokens"] == 29


def test_unknown_fields_and_headers_are_tolerated(serve):
    server = serve()
    response = httpx.post(
        f"{server.url}/v1/embeddings",
        json={"model": PLAIN, "input": "one", "user": "u", "x": [1]},
        headers={"X-Stainless-Lang": "python", "X-Source": "perplexity-py", "X-Title": "t"},
    )
    assert response.status_code == 200


def test_with_a_key_the_body_need_not_say_that_it_is_json(serve):
    body = json.dumps({"model": PLAIN, "input": "one"}).encode()
    url = f"{serve(api_key='k').url}/v1/embeddings"
    headers = {"Authorization": "Bearer k"}
    assert httpx.post(url, content=body, headers=headers).status_code == 200


def test_models_lists_every_name_with_what_stands_behind_it(serve):
    server = serve(aliases=["mine"])
    listed = httpx.get(f"{server.url}/v1/models").json()
    assert listed["object"] == "list"
    by_id = {model["id"]: model for model in listed["data"]}
    assert {CONTEXTUAL, PLAIN, f"perplexity-ai/{PLAIN}", "mine"} <= set(by_id)
    assert by_id[PLAIN]["endpoints"] == ["/v1/embeddings"]
    assert by_id["mine"]["served_model"] == "fake"
    assert by_id["mine"]["fingerprint"] == server.embedder.fingerprint
    facts = {
        "dimensions": 256,
        "max_tokens": 32_768,
        "window_tokens": 40_000,
        "max_chunk_tokens": 32_768,
        "usual_chunk_tokens": 256,
        "context_weight": 1.0,
        "neighbour_weight": 0.0,
    }
    assert by_id["mine"] == by_id["mine"] | facts


def test_health_ready_and_metrics_need_no_key(serve):
    server = serve(api_key="k")
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/ready").json() == {"status": "ready"}
    assert httpx.get(f"{server.url}/metrics").status_code == 200


def test_metrics_count_requests_tokens_and_batches(serve):
    server = serve()
    server.documents([["one two", "three"]])
    server.documents([["one"]], model="nobody")
    httpx.get(f"{server.url}/nowhere/else")
    text = httpx.get(f"{server.url}/metrics").text
    route = 'route="/v1/contextualizedembeddings"'
    assert f'ctxembed_requests_total{{{route},status="200"}} 1.0' in text
    assert f'ctxembed_requests_total{{{route},status="400"}} 1.0' in text
    assert 'ctxembed_requests_total{route="other",status="404"} 1.0' in text
    assert f"ctxembed_tokens_total{{{route}}} 4.0" in text
    assert "ctxembed_batch_tokens_sum 4.0" in text
    assert "ctxembed_queue_tokens 0.0" in text


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"model": CONTEXTUAL}, ["body", "input"]),
        ({"input": [["a"]]}, ["body", "model"]),
        ({"model": CONTEXTUAL, "input": "secret text"}, ["body", "input"]),
        ({"model": CONTEXTUAL, "input": ["secret text"]}, ["body", "input", 0]),
        ({"model": CONTEXTUAL, "input": [["a", 3]]}, ["body", "input", 0, 1]),
        ({"model": CONTEXTUAL, "input": []}, ["body", "input"]),
        ({"model": CONTEXTUAL, "input": [["a"], []]}, ["body", "input", 1]),
        ({"model": CONTEXTUAL, "input": [["a"]] * 513}, ["body", "input"]),
        ({"model": CONTEXTUAL, "input": [["a"]], "dimensions": "256"}, ["body", "dimensions"]),
        ({"model": CONTEXTUAL, "input": [["a"]], "dimensions": 256.5}, ["body", "dimensions"]),
        (
            {"model": CONTEXTUAL, "input": [["a"]], "encoding_format": "secret text"},
            ["body", "encoding_format"],
        ),
    ],
)
def test_a_body_of_the_wrong_shape_is_422_and_never_repeated(serve, body, place):
    response = serve().post("contextualizedembeddings", **body)
    assert response.status_code == 422
    (problem,) = response.json()["detail"]
    assert problem["loc"] == place
    assert set(problem) == {"loc", "msg", "type"}
    assert "secret" not in response.text


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"\xff"', b'{"input": "\\ud800"}']
)
def test_a_body_that_is_no_json_object_is_422(serve, content):
    response = httpx.post(f"{serve().url}/v1/embeddings", content=content, headers=JSON)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body"]


def test_of_thousands_of_problems_the_first_is_told(serve):
    response = serve().documents([[3] * 5000])
    assert response.status_code == 422
    (problem,) = response.json()["detail"]
    assert problem["loc"] == ["body", "input", 0, 0]


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (ContextualizedRequest, [["a"], [3] * 5000]),
        (ContextualizedRequest, [[3]] * 500),
        (ContextualizedRequest, [3] * 5000),
        (EmbeddingsRequest, [3] * 5000),
        (EmbeddingsRequest, ["a", *[None] * 500]),
    ],
)
def test_checking_stops_at_the_first_problem(schema, given):
    """More of them would be built before they could be cut: gigabytes for a body of numbers."""
    with pytest.raises(ValidationError) as caught:
        schema.model_validate_json(json.dumps({"model": "m", "input": given}))
    assert caught.value.error_count() <= (2 if schema is EmbeddingsRequest else 1)


@pytest.mark.parametrize("dimensions", [-1, 0, 127, 257, 10**30])
def test_dimensions_that_the_model_cannot_give_are_400(serve, dimensions):
    response = serve().documents([["a"]], dimensions=dimensions)
    if dimensions == 10**30:
        assert response.status_code in (400, 422)
    else:
        refused(response, 400, "invalid_request", "from 128 to 256")


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_text_is_400_and_named(serve, text):
    server = serve()
    message = refused(server.documents([["a"], ["b", text]]), 400, "invalid_request")
    assert message.startswith("Document 1, chunk 1:")
    assert "zero" not in message
    assert refused(server.texts(["a", text]), 400, "invalid_request").startswith("Text 1:")
    refused(server.texts(text), 400, "invalid_request")


@pytest.mark.parametrize("model", ["gpt", "", "PPLX", "fake"])
def test_an_unknown_model_is_400_and_the_known_ones_are_named(serve, model):
    message = refused(serve().documents([["a"]], model=model), 400, "invalid_request")
    assert CONTEXTUAL in message


def test_a_contextual_model_on_the_other_route_is_400_and_the_right_route_is_named(serve):
    response = serve().texts("a", model=CONTEXTUAL)
    refused(response, 400, "invalid_request", "/v1/contextualizedembeddings")


def test_a_model_without_context_refuses_the_contextual_route(serve):
    server = serve(spec={"contextual": False, "context_weight": 0.0})
    refused(server.documents([["a"]]), 400, "invalid_request", "for /v1/embeddings")
    assert server.texts("a").status_code == 200


def test_a_document_beyond_the_limit_is_400_with_separators_counted(serve):
    server = serve()
    half = "a " * 16_383
    assert server.documents([[half, half]]).status_code == 200
    message = refused(server.documents([["a"], [half, half, "a"]]), 400, "invalid_request")
    assert message.startswith("Document 1 has 32,769 tokens")
    refused(server.texts("a " * 32_769), 400, "invalid_request", "32,769")


def test_a_chunk_beyond_the_models_own_limit_is_400(serve):
    server = serve(spec={"max_tokens": 10, "window_tokens": 10})
    message = refused(server.documents([["a", "a " * 11]]), 400, "invalid_request")
    assert message.startswith("Document 0, chunk 1: has 11 tokens; the maximum is 10")


def test_a_request_beyond_its_tokens_is_400(serve):
    response = serve().documents([["a " * 30_001]] * 4)
    refused(response, 400, "invalid_request", "the maximum is 120,000")


def test_a_request_beyond_its_chunks_is_400(serve):
    server = serve()
    assert server.documents([["a"] * 8_000] * 2).status_code == 200
    refused(server.documents([["a"] * 8_001] * 2), 400, "invalid_request", "16,000 chunks")


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer", "Basic right", "right", "Bearer rig\xe9"]
)
def test_without_the_right_key_everything_under_v1_is_401(serve, header):
    server = serve(api_key="right")
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    for method, path in [("POST", "/v1/embeddings"), ("GET", "/v1/models"), ("GET", "/v1/x")]:
        response = httpx.request(method, server.url + path, headers=headers)
        refused(response, 401, "invalid_api_key")
        assert response.headers["www-authenticate"] == "Bearer"


def test_the_right_key_opens(serve):
    server = serve(api_key="ri\xe9ght")
    headers = {"Authorization": b"bearer " + "ri\xe9ght".encode()}
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200


def test_a_key_from_a_file_opens_without_its_line_end(serve):
    server = serve(api_key=" right\r\n")
    headers = {"Authorization": "Bearer right"}
    assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("key", ["", " \n", "sec ret", "sec\nret", "sec\x00ret", "sec\udcffret"])
def test_a_key_that_no_client_can_send_is_refused_and_not_told(key):
    with pytest.raises(ConfigurationError) as caught:
        create_app(Embedder(FakeBackend()), api_key=key)
    assert "sec" not in str(caught.value)


async def test_the_key_is_asked_for_below_another_application_too():
    embedder = Embedder(FakeBackend())
    app = Starlette(routes=[Mount("/below", create_app(embedder, api_key="right"))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        refused(await client.post("http://x/below/v1/embeddings"), 401, "invalid_api_key")
        assert (await client.get("http://x/below/health")).status_code == 200


@pytest.mark.parametrize("told", [True, False])
def test_a_body_beyond_the_cap_is_413(serve, told):
    server = serve(max_body_bytes=1000)
    content = b" " * 1001 if told else iter([b" " * 600] * 2)
    response = httpx.post(f"{server.url}/v1/embeddings", content=content, headers=JSON)
    refused(response, 413, "request_too_large", "1,000 bytes")
    assert server.texts("still there").status_code == 200


def test_no_route_and_no_method_are_errors_in_the_same_shape(serve):
    server = serve()
    refused(httpx.get(f"{server.url}/v1/nothing"), 404, "not_found")
    refused(httpx.post(f"{server.url}/v1/embeddings/", json={}), 404, "not_found")
    response = httpx.get(f"{server.url}/v1/embeddings")
    refused(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("error", [NonFiniteError(), RuntimeError("secret text")])
def test_a_model_that_fails_is_500_without_a_word_of_the_input(serve, error):
    def fault(batch):
        raise error

    server = serve(FakeBackend(fault=fault))
    response = server.documents([["secret text"]])
    refused(response, 500, "internal_error")
    assert "secret" not in response.text


def test_a_draining_server_is_not_ready_and_answers_what_still_comes(serve):
    server = serve()
    server.app.state.lifecycle.drain()
    response = httpx.get(f"{server.url}/ready")
    assert (response.status_code, response.json()) == (503, {"status": "draining"})
    assert server.texts("a").status_code == 200


def test_a_model_that_does_not_open_is_told_and_never_ready(serve):
    errors = SimpleQueue()

    def broken():
        raise RuntimeError("secret path")

    server = serve(opener=broken, ready=False, failed=errors.put)
    assert str(errors.get(timeout=20)) == "secret path"
    assert httpx.get(f"{server.url}/ready").json() == {"status": "failed"}
    refused(server.texts("a"), 503, "unavailable", "failed")


def test_a_model_that_opens_after_the_end_is_closed():
    begun, go_on, closed = (threading.Event() for _ in range(3))

    class Backend(FakeBackend):
        def close(self):
            super().close()
            closed.set()

    backend = Backend()

    def slow():
        begun.set()
        assert go_on.wait(20)
        return Embedder(backend, Settings())

    async def live():
        app = create_app(slow)
        async with app.router.lifespan_context(app):
            assert await asyncio.to_thread(begun.wait, 20)

    asyncio.run(live())
    assert backend.closed == 0
    go_on.set()
    assert closed.wait(20)
