"""What a server of one's own tells of its model, and a client that follows or says it cannot."""

import logging

import numpy as np
import pytest

pytest.importorskip("httpx")

from ctxembed import ConfigurationError, Embedder
from ctxembed.backends.api.endpoint import find_endpoint
from ctxembed.backends.api.served_model import served_model
from ctxembed.settings import Settings
from ctxembed.windows import usual_chunk_tokens

MODEL = "pplx-embed-context-v1-0.6b"
SMALL = {
    "id": MODEL,
    "fingerprint": "of the server",
    "dimensions": 64,
    "max_chunk_tokens": 510,
    "usual_chunk_tokens": 64,
}


def opened(**options):
    return Embedder.open(backend="api", model=MODEL, **options)


def test_the_client_follows(api):
    api.models = {"data": [{"id": "another", "odd": None}, {**SMALL, "more": [1]}]}

    with opened() as embedder:
        assert embedder.dimensions == 64
        assert usual_chunk_tokens(embedder.settings, embedder.backend.spec) == 64
        assert embedder.backend.identity.model == f"perplexity-ai/{MODEL}@of the server"
        chunks = embedder.backend.tokenize(["word " * 1000, "word"])
        assert [chunk.count for chunk in chunks] == [510, 2]
        # documents are sent whole: the server makes the windows
        assert embedder.backend.spec.window_tokens == 32_768
    with opened(window_tokens=100) as embedder:
        assert usual_chunk_tokens(embedder.settings, embedder.backend.spec) == 25
    with pytest.raises(ConfigurationError, match=r"on this server .* has 64 to 64 dimensions"):
        opened(dimensions=128)


ODD = [
    ({"data": []}, f"its answer has no {MODEL}"),
    ({"object": "list"}, "lacks these facts"),
    ({"data": [{"id": MODEL, "owned_by": "x"}]}, "lacks these facts"),
    ({"data": [{**SMALL, "dimensions": 0}]}, "lacks these facts"),
    ({"data": [{**SMALL, "usual_chunk_tokens": 10**30}]}, "lacks these facts"),
    (["<html>"], "lacks these facts"),
    ({"data": [], "more": "x" * 2**20}, "failed (StreamError)"),
]


@pytest.mark.parametrize(("models", "reason"), ODD)
def test_a_server_that_does_not_tell_is_said_once(api, caplog, models, reason):
    api.models = models

    with caplog.at_level(logging.WARNING), opened() as embedder:
        assert embedder.dimensions == 1024
        assert embedder.embed_query("q").shape == (1024,)
    (record,) = caplog.records
    assert reason in record.message
    assert "does not tell which model is behind" in record.message
    assert embedder.backend.identity.model == f"perplexity-ai/{MODEL}"


def test_nobody_there_is_said(caplog, monkeypatch):
    monkeypatch.setenv("PERPLEXITY_API_KEY", "k")

    with opened(base_url="http://127.0.0.1:9") as embedder:
        assert embedder.dimensions == 1024
    (record,) = caplog.records
    assert "no connection to http://127.0.0.1:9" in record.message


def test_the_vendor_is_not_asked(caplog):
    endpoint = find_endpoint(Settings(base_url="https://api.perplexity.ai/v1/"), "k")

    assert served_model(endpoint, MODEL) is None
    assert not caplog.records


def test_another_model_behind_the_same_address_is_not_answered_from_the_cache(api, tmp_path):
    def read(fingerprint):
        api.models = {"data": [{**SMALL, "dimensions": 128, "fingerprint": fingerprint}]}
        api.requests.clear()
        with opened(cache=str(tmp_path / "cache"), dimensions=128) as embedder:
            rows = embedder.embed_documents([["a", "b"]])
        return len(api.requests), np.concatenate(rows)

    assert [read(each)[0] for each in ("one", "one", "another", "one")] == [1, 0, 1, 0]


def test_a_server_that_is_loading_is_asked_again(api, monkeypatch):
    monkeypatch.setattr("ctxembed.backends.api.served_model._WAIT", 0.001)
    api.models = {"data": [SMALL]}
    api.loading = 2

    with opened() as embedder:
        assert embedder.dimensions == 64
    assert not api.loading


def test_a_server_that_loads_for_longer_than_an_attempt_is_given_up(api, caplog):
    api.loading = 1

    with opened(timeout=0.4) as embedder:
        assert embedder.dimensions == 1024
    (record,) = caplog.records
    assert "answered 503" in record.message
