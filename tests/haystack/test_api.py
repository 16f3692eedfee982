"""Over the API, against a server on loopback: by value, with the key where it belongs."""

from contextlib import ExitStack, closing

import numpy as np
import pytest
from haystack import Pipeline
from haystack.utils import ComponentDevice, Secret
from upstream import truth

from ctxembed.errors import AuthenticationError, ConfigurationError, RateLimitError
from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualTextEmbedder,
)

API = {"model": "pplx-embed-context-v1-0.6b", "backend": "api", "dimensions": 128}


@pytest.fixture(autouse=True)
def client():
    for name in ("httpx", "msgspec"):
        pytest.importorskip(name)


@pytest.fixture
def made():
    """Make components, and close them in the end: connections are theirs."""
    with ExitStack() as stack:
        yield lambda component, **options: stack.enter_context(
            closing(component(**(API | options)))
        )


def unit(codes):
    floats = codes.astype(np.float32)
    return (floats / np.linalg.norm(floats)).tolist()


async def test_vectors_are_those_of_whole_sources(call, api, chunks, texts, made):
    embedder = made(ContextualDocumentEmbedder, progress_bar=False)
    found = await call(embedder, documents=chunks)
    for document in found["documents"]:
        siblings = texts[document.meta["source_id"]]
        expected = unit(truth(siblings, document.meta["split_id"], 128))
        assert document.embedding == pytest.approx(expected, abs=1e-6)
    words = sum(len(text.split()) for siblings in texts.values() for text in siblings)
    assert found["meta"]["usage"]["total_tokens"] == words
    assert found["meta"]["usage"]["cost"] == pytest.approx(words * 0.008e-6)
    assert api.headers[0]["Authorization"] == "Bearer secret-key"


@pytest.mark.parametrize(("status", "error"), [(429, RateLimitError), (401, AuthenticationError)])
async def test_a_server_that_refuses_is_raised_though_lenient(
    call, api, chunks, made, status, error
):
    api.always = lambda handler, _: handler.answer(status, "{}")
    options = {"raise_on_failure": False, "progress_bar": False, "max_retries": 0}
    with pytest.raises(error):
        await call(made(ContextualDocumentEmbedder, **options), documents=chunks)


async def test_a_query_goes_alone(call, api, made):
    found = await call(made(ContextualTextEmbedder), text="Who fell ill?")
    expected = unit(truth(["Who fell ill?"], 0, 128))
    assert found["embedding"] == pytest.approx(expected, abs=1e-6)


def test_a_key_of_one_s_own_goes_before_the_environment_s(api, made, monkeypatch):
    monkeypatch.setenv("MY_KEY", "another-key")
    embedder = made(ContextualTextEmbedder, api_key=Secret.from_env_var("MY_KEY"))
    pipeline = Pipeline()
    pipeline.add_component("embedder", embedder)
    text = pipeline.dumps()
    assert "another-key" not in text
    with closing(Pipeline.loads(text)) as loaded:
        loaded.run({"embedder": {"text": "a"}})
    assert api.headers[-1]["Authorization"] == "Bearer another-key"


def test_a_key_is_asked_for_when_the_model_is_opened(api, made, monkeypatch):
    monkeypatch.delenv("PERPLEXITY_API_KEY")
    embedder = made(ContextualTextEmbedder)
    with pytest.raises((AuthenticationError, ConfigurationError), match="PERPLEXITY_API_KEY"):
        embedder.warm_up()


@pytest.mark.parametrize("value", [None, ""])
def test_no_other_account_stands_in_for_a_key_that_is_not_set(api, made, monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    embedder = made(ContextualTextEmbedder, api_key=Secret.from_env_var("MY_KEY", strict=False))
    with pytest.raises(ConfigurationError, match=r"api_key holds no key.*MY_KEY"):
        embedder.warm_up()
    assert not api.headers


def test_a_device_means_nothing_to_the_api(api, made):
    embedder = made(ContextualTextEmbedder, device=ComponentDevice.from_str("cpu"))
    with pytest.raises(ConfigurationError, match="device means nothing"):
        embedder.warm_up()
