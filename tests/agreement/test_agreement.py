"""The same documents through every framework and through the bare core: the same vectors.

A route takes documents (lists of chunks) and settings, and returns the vectors chunk by chunk; its
query takes a text. A framework is one entry of `ROUTES`.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from ctxembed import Embedder, to_floats

Vectors = list[list[float]]
DOCUMENTS = [
    ["The king fell ill.", "He sent for his three sons.", "Terms apply."],
    ["The tenant pays.", "Terms apply.", "Terms apply.", "Ça coûte 3 €. 王は病気だ。"],
    ["One line."],
    [f"Article {number} of the law." for number in range(12)],
]
QUERY = "Who sent for his sons?"


class Route(NamedTuple):
    """How a framework embeds documents and a query."""

    documents: Callable[..., list[Vectors]]
    query: Callable[..., list[float]]


def haystack_documents(documents, **settings):
    pytest.importorskip("haystack")
    from haystack import Document

    from haystack_integrations.components.embedders.ctxembed import ContextualDocumentEmbedder

    embedder = ContextualDocumentEmbedder(**settings, progress_bar=False)
    given = [
        Document(content=chunk, meta={"source_id": str(number), "split_id": place})
        for number, document in enumerate(documents)
        for place, chunk in enumerate(document)
    ]
    rows = iter(embedder.run(given)["documents"])
    return [[next(rows).embedding for _ in document] for document in documents]


def haystack_query(text, **settings):
    pytest.importorskip("haystack")
    from haystack_integrations.components.embedders.ctxembed import ContextualTextEmbedder

    return ContextualTextEmbedder(**settings).run(text)["embedding"]


def langchain_documents(documents, **settings):
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_ctxembed import ContextualEmbeddings, ContextualVectorStore, stamp_context

    embeddings = ContextualEmbeddings(**settings)
    inner = InMemoryVectorStore(embeddings)
    stamped = [
        stamp_context([Document(page_content=chunk) for chunk in document], source_id=str(number))
        for number, document in enumerate(documents)
    ]
    ids = ContextualVectorStore(inner).add_documents([c for chunks in stamped for c in chunks])
    rows = iter(ids)
    return [[inner.store[next(rows)]["vector"] for _ in document] for document in documents]


def langchain_query(text, **settings):
    pytest.importorskip("langchain_core")
    from langchain_ctxembed import ContextualEmbeddings

    return ContextualEmbeddings(**settings).embed_query(text)


def llamaindex_documents(documents, **settings):
    pytest.importorskip("llama_index.core")
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

    nodes = [
        TextNode(
            text=chunk,
            start_char_idx=place,
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=str(number))},
        )
        for number, document in enumerate(documents)
        for place, chunk in enumerate(document)
    ]
    rows = iter(llamaindex_embedding(settings)(nodes))
    return [[next(rows).embedding for _ in document] for document in documents]


def llamaindex_query(text, **settings):
    pytest.importorskip("llama_index.core")
    return llamaindex_embedding(settings).get_query_embedding(text)


def llamaindex_embedding(settings):
    from llama_index.embeddings.ctxembed import ContextualEmbedding

    given = {name: value for name, value in settings.items() if name != "model"}
    return ContextualEmbedding(model_name=settings["model"], **given)


ROUTES = {
    "haystack": Route(haystack_documents, haystack_query),
    "langchain": Route(langchain_documents, langchain_query),
    "llamaindex": Route(llamaindex_documents, llamaindex_query),
}

SETTINGS = {
    "default": {},
    "short": {"dimensions": 24},
    "mixed": {"context_weight": 0.5},
    "neighbours": {"context_weight": 0.5, "neighbour_weight": 0.7},
    "windows": {"window_tokens": 24, "overlap_tokens": 8},
}


@pytest.fixture(params=ROUTES)
def route(request):
    return ROUTES[request.param]


@pytest.fixture(params=SETTINGS)
def settings(request, pplx_checkpoint):
    model = {"model": str(pplx_checkpoint), "backend": "torch", "dtype": "float32"}
    return model | SETTINGS[request.param]


def test_documents_get_the_vectors_of_the_core(route, settings):
    with Embedder.open(**settings, normalize=True) as core:
        expected = [to_floats(rows) for rows in core.embed_documents(DOCUMENTS)]
    assert route.documents(DOCUMENTS, **settings) == expected


def test_a_query_gets_the_vector_of_the_core(route, settings):
    with Embedder.open(**settings, normalize=True) as core:
        (expected,) = to_floats(core.embed_query(QUERY)[None])
    assert route.query(QUERY, **settings) == expected
