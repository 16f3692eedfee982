"""The API behind the adapter, against a server on loopback: values, sync and async, the key."""

import asyncio
import pickle

import numpy as np
import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from upstream import truth as codes

from ctxembed import ConfigurationError
from ctxembed.wire import KEY_VARIABLES
from langchain_ctxembed import ContextualEmbeddings, ContextualVectorStore

pytest.importorskip("msgspec", reason="the API needs ctxembed[api]")

MODEL = "pplx-embed-context-v1-0.6b"


@pytest.fixture
def remote(api):
    made = ContextualEmbeddings(model=MODEL, backend="api", dimensions=128)
    yield made
    made.close()


def check(parents, stored):
    for metadata, vector in stored:
        (parent,) = (p for p in parents if p.metadata["source"] == metadata["source"])
        row = codes(parent.page_content.split("\n"), metadata["context_index"], 128)
        expected = row / np.linalg.norm(row.astype(np.float32))
        assert np.allclose(vector, expected, atol=1e-6)
    assert len(stored) == sum(len(p.page_content.split("\n")) for p in parents)


def test_documents_go_out_whole_and_come_back_to_their_chunks(
    api, remote, line_splitter, parents, registry, held
):
    wrapped = ContextualVectorStore(InMemoryVectorStore(remote), registry=registry)
    chunks = line_splitter(embeddings=remote).split_documents(parents)
    for start in range(0, len(chunks), 9):
        wrapped.add_documents(chunks[start : start + 9])
    check(parents, held(wrapped.store))
    sent = [document for _, _, body in api.requests for document in body["input"]]
    assert sent == [parent.page_content.split("\n") for parent in parents]


async def test_many_tasks_at_once(api, remote, line_splitter, parents, registry, held):
    wrapped = ContextualVectorStore(InMemoryVectorStore(remote), registry=registry)
    chunks = line_splitter(embeddings=remote).split_documents(parents)
    parts = [chunks[start : start + 9] for start in range(0, len(chunks), 9)]
    await asyncio.gather(*map(wrapped.aadd_documents, parts))
    check(parents, held(wrapped.store))
    assert len(await remote.aembed_query("a question")) == 128


def test_the_key_given_goes_out_and_is_not_pickled(api):
    made = ContextualEmbeddings(model=MODEL, backend="api", dimensions=128, api_key="given")
    made.embed_query("a question")
    read = pickle.loads(pickle.dumps(made))
    read.embed_query("a question")
    sent = [{k.lower(): v for k, v in h.items()}["authorization"] for h in api.headers]
    assert sent == ["Bearer given", "Bearer secret-key"]
    made.close()
    read.close()


def test_a_key_in_the_environment_is_no_matter_to_local_weights(api, pplx_checkpoint):
    assert len(ContextualEmbeddings(model=str(pplx_checkpoint)).embed_query("a question")) == 64


def test_a_key_that_nothing_would_read_is_refused(api, pplx_checkpoint):
    made = ContextualEmbeddings(model=str(pplx_checkpoint), api_key="very-secret")
    with pytest.raises(ConfigurationError, match='api_key is for backend="api"') as caught:
        made.embed_query("a question")
    assert "very-secret" not in str(caught.value)
    read = pickle.loads(pickle.dumps(made))  # it has the environment's
    assert len(read.embed_query("a question")) == 64


def test_without_a_key_the_error_says_so(monkeypatch):
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match="PERPLEXITY_API_KEY"):
        ContextualEmbeddings(model=MODEL, backend="api").embed_query("a question")


@pytest.mark.parametrize("name", KEY_VARIABLES)
def test_the_key_is_read_from_every_variable_that_the_core_reads(name, monkeypatch):
    for other in KEY_VARIABLES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "from the environment")
    assert ContextualEmbeddings().api_key.get_secret_value() == "from the environment"


def test_closed_embeddings_open_again(api, remote):
    before = remote.embed_query("a question")
    remote.close()
    assert remote.embed_query("a question") == before
