"""The remote API behind the adapter: documents, queries, and where the key goes."""

import pickle

import numpy as np
import pytest
from llama_index.core.ingestion import IngestionPipeline
from upstream import truth

from ctxembed import ConfigurationError
from llama_index.embeddings.ctxembed import ContextualEmbedding

pytest.importorskip("httpx")
pytest.importorskip("msgspec")


def embedding(**settings):
    return ContextualEmbedding(
        model_name="pplx-embed-context-v1-0.6b",
        backend="api",
        dimensions=128,
        max_retries=0,
        **settings,
    )


def right(chunks, place):
    codes = truth(chunks, place, 128).astype(float)
    return codes / np.linalg.norm(codes)


@pytest.mark.parametrize("is_async", [False, True])
async def test_documents_and_queries_through_the_api(api, parser, documents, is_async):
    given = embedding(api_key="pplx-secret-3")
    pipeline = IngestionPipeline(transformations=[parser, given])
    run = {"documents": documents}
    nodes = await pipeline.arun(**run) if is_async else pipeline.run(**run)
    for document in documents:
        mine = [node for node in nodes if node.ref_doc_id == document.id_]
        texts = [node.get_content("embed") for node in mine]
        for place, node in enumerate(mine):
            assert np.allclose(node.embedding, right(texts, place))
    row = await given.aget_query_embedding("a") if is_async else given.get_query_embedding("a")
    assert np.allclose(row, right(["a"], 0))
    assert {each["authorization"] for each in headers(api)} == {"Bearer pplx-secret-3"}
    given.close()


def headers(api):
    return [{name.lower(): value for name, value in each.items()} for each in api.headers]


def test_another_process_takes_the_key_from_its_environment(api):
    given = pickle.loads(pickle.dumps(embedding(api_key="pplx-secret-3")))
    assert np.allclose(given.get_query_embedding("a"), right(["a"], 0))
    assert headers(api)[0]["authorization"] == "Bearer secret-key"
    given.close()


def test_without_a_key_the_error_says_where_one_is_looked_for(api, monkeypatch):
    monkeypatch.delenv("PERPLEXITY_API_KEY")
    with pytest.raises(ConfigurationError, match="PERPLEXITY_API_KEY"):
        embedding().get_query_embedding("a")
