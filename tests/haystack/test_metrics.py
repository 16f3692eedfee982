"""Which stores and metrics rank right, with and without unit length: see `docs/haystack.md`."""

from pathlib import Path

import numpy as np
import pytest
from haystack import Document
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

PAGE = Path(__file__).parents[2] / "docs" / "haystack.md"
ROWS, WIDTH, QUERIES = 200, 64, 20


def in_memory(_path, similarity):
    store = InMemoryDocumentStore(embedding_similarity_function=similarity)
    return store, InMemoryEmbeddingRetriever(store, top_k=10)


def chroma(path, distance):
    pytest.importorskip("haystack_integrations.document_stores.chroma")
    from haystack_integrations.components.retrievers.chroma import ChromaEmbeddingRetriever
    from haystack_integrations.document_stores.chroma import ChromaDocumentStore

    store = ChromaDocumentStore(
        persist_path=str(path),
        distance_function=distance,
        client_settings={"anonymized_telemetry": False},
    )
    return store, ChromaEmbeddingRetriever(store, top_k=10)


def qdrant(path, similarity):
    pytest.importorskip("haystack_integrations.document_stores.qdrant")
    from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever
    from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

    store = QdrantDocumentStore(
        path=str(path), embedding_dim=WIDTH, similarity=similarity, progress_bar=False
    )
    return store, QdrantEmbeddingRetriever(store, top_k=10)


CASES = [
    ("`InMemoryDocumentStore`", in_memory, "dot_product"),
    ("`InMemoryDocumentStore`", in_memory, "cosine"),
    ("`ChromaDocumentStore`", chroma, "l2"),
    ("`ChromaDocumentStore`", chroma, "cosine"),
    ("`ChromaDocumentStore`", chroma, "ip"),
    ("`QdrantDocumentStore`", qdrant, "cosine"),
    ("`QdrantDocumentStore`", qdrant, "dot_product"),
    ("`QdrantDocumentStore`", qdrant, "l2"),
]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(("name", "make", "metric"), CASES)
def test_stores_rank_as_documented(name, make, metric, tmp_path):
    random = np.random.default_rng(0)
    lengths = random.lognormal(0, 0.5, (ROWS, 1)) * 25
    rows = np.clip(np.rint(random.standard_normal((ROWS, WIDTH)) * lengths), -128, 127)
    queries = np.clip(np.rint(random.standard_normal((QUERIES, WIDTH)) * 30), -128, 127)
    best = [set(np.argsort(-scores)[:10]) for scores in unit(queries) @ unit(rows).T]
    right = []
    for number, form in enumerate((np.asarray, unit)):
        store, retriever = make(tmp_path / str(number), metric)
        store.write_documents(
            [
                Document(id=str(n), content=str(n), embedding=row.tolist())
                for n, row in enumerate(form(rows))
            ]
        )
        found = [
            {int(d.content) for d in retriever.run(query_embedding=query.tolist())["documents"]}
            for query in form(queries)
        ]
        right.append(sum(a == b for a, b in zip(found, best, strict=True)))
        if hasattr(store, "close"):
            store.close()
    line = f"| {name} | `{metric}` | {right[0]}/{QUERIES} | {right[1]}/{QUERIES} |"
    assert line in PAGE.read_text(), line


@pytest.mark.parametrize(("name", "make", "metric"), CASES)
def test_a_zero_vector_ranks_as_documented(name, make, metric, tmp_path):
    """Below what is alike; by L2 as near as a similarity of 0.5, and below that everywhere else."""
    store, retriever = make(tmp_path / "store", metric)
    query, other = np.eye(WIDTH)[:2]
    rows = {"zero": np.zeros(WIDTH)}
    rows |= {str(s): s * query + np.sqrt(1 - s**2) * other for s in (0.6, 0.4)}
    store.write_documents(
        [
            Document(id=str(n), content=k, embedding=v.tolist())
            for n, (k, v) in enumerate(rows.items())
        ]
    )
    found = [d.content for d in retriever.run(query_embedding=query.tolist())["documents"]]
    assert found == (["0.6", "zero", "0.4"] if metric == "l2" else ["0.6", "0.4", "zero"])
    if hasattr(store, "close"):
        store.close()
