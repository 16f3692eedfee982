"""The official client library, unchanged, against the server over a real socket."""

import base64
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ctxembed import Embedder, Settings
from ctxembed.testing import FakeBackend

perplexity = pytest.importorskip("perplexity")

DOCUMENTS = [["one two", "three"], ["four"]]
TEXTS = ["one two", "three"]
CONTEXTUAL = "pplx-embed-context-v1-4b"
PLAIN = "pplx-embed-v1-0.6b"
FORMATS = [("base64_int8", "int8"), ("base64_binary", "binary")]


@pytest.fixture
def sdk(serve):
    server = serve(api_key="right")
    with perplexity.Perplexity(api_key="right", base_url=server.url, max_retries=0) as client:
        yield server, client


def rows(data, wire_format, dimensions):
    """Decode as the vendor's guide says."""
    raw = [base64.b64decode(each.embedding) for each in data]
    if wire_format == "base64_int8":
        return np.stack([np.frombuffer(each, np.int8) for each in raw])
    bits = [np.unpackbits(np.frombuffer(each, np.uint8), bitorder="little") for each in raw]
    return np.where(np.stack(bits)[:, :dimensions], 1, -1)


@pytest.mark.parametrize(("wire_format", "encoding"), FORMATS)
@pytest.mark.parametrize("dimensions", [128, 256])
def test_documents(sdk, wire_format, encoding, dimensions):
    server, client = sdk
    got = client.contextualized_embeddings.create(
        input=DOCUMENTS, model=CONTEXTUAL, encoding_format=wire_format, dimensions=dimensions
    )
    settings = Settings(encoding=encoding, dimensions=dimensions)
    expected = Embedder(FakeBackend(server.backend.spec), settings).embed_documents(DOCUMENTS)
    assert got.object == "list"
    assert got.model == CONTEXTUAL
    assert got.usage.total_tokens == 5
    assert got.usage.cost.currency == "USD"
    for document, wanted in zip(got.data, expected, strict=True):
        np.testing.assert_array_equal(rows(document.data, wire_format, dimensions), wanted)


@pytest.mark.parametrize(("wire_format", "encoding"), FORMATS)
@pytest.mark.parametrize("dimensions", [128, 256])
def test_texts(sdk, wire_format, encoding, dimensions):
    server, client = sdk
    got = client.embeddings.create(
        input=TEXTS, model=PLAIN, encoding_format=wire_format, dimensions=dimensions
    )
    settings = Settings(encoding=encoding, dimensions=dimensions)
    expected = Embedder(FakeBackend(server.backend.spec), settings).embed_queries(TEXTS)
    np.testing.assert_array_equal(rows(got.data, wire_format, dimensions), expected)


@pytest.mark.parametrize("wire_format", ["base64_int8", "base64_binary"])
async def test_the_asynchronous_client_gets_the_same(sdk, wire_format):
    server, client = sdk
    options = {"encoding_format": wire_format, "dimensions": 128}
    documents = {"input": DOCUMENTS, "model": CONTEXTUAL} | options
    texts = {"input": TEXTS, "model": PLAIN} | options
    async with perplexity.AsyncPerplexity(api_key="right", base_url=server.url) as other:
        assert await other.contextualized_embeddings.create(
            **documents
        ) == client.contextualized_embeddings.create(**documents)
        assert await other.embeddings.create(**texts) == client.embeddings.create(**texts)


def test_a_wrong_key_raises_its_authentication_error(sdk):
    _, client = sdk
    with pytest.raises(perplexity.AuthenticationError) as caught:
        client.with_options(api_key="wrong").embeddings.create(input="a", model=PLAIN)
    assert caught.value.body["error"]["type"] == "invalid_api_key"


@pytest.mark.parametrize(
    "wrong", [{"input": ""}, {"dimensions": 257}, {"extra_body": {"model": "pplx-nothing"}}]
)
def test_bad_values_raise_its_bad_request_error(sdk, wrong):
    _, client = sdk
    with pytest.raises(perplexity.BadRequestError) as caught:
        client.embeddings.create(**({"input": "a", "model": PLAIN} | wrong))
    assert caught.value.body["error"]["code"] == "400"


def test_a_wrong_shape_raises_its_unprocessable_entity_error(sdk):
    _, client = sdk
    with pytest.raises(perplexity.UnprocessableEntityError) as caught:
        client.contextualized_embeddings.create(input=[], model=CONTEXTUAL)
    assert caught.value.body["detail"][0]["loc"] == ["body", "input"]


def test_a_full_queue_raises_its_rate_limit_error(serve, hold):
    server = serve(FakeBackend(fault=hold), max_queue_tokens=2)
    with (
        perplexity.Perplexity(api_key="k", base_url=server.url, max_retries=0) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(client.embeddings.create, input="a b", model=PLAIN)
        assert hold.entered.wait(20)
        with pytest.raises(perplexity.RateLimitError) as caught:
            client.embeddings.create(input="c", model=PLAIN)
        assert caught.value.response.headers["retry-after"] == "1"
        hold.opened.set()
        assert len(first.result(20).data) == 1


def test_the_key_is_in_no_log_and_no_repr(sdk, caplog):
    server, client = sdk
    with caplog.at_level(logging.DEBUG):
        client.embeddings.create(input="a", model=PLAIN)
    ours = [r.getMessage() for r in caplog.records if r.name.startswith(("ctxembed", "uvicorn"))]
    assert ours
    assert not any("right" in line for line in ours)
    assert "right" not in repr(server.app) + repr(vars(server.app)) + repr(vars(server.listener))
