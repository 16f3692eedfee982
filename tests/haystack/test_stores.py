"""Vector databases on disk: what comes back is right, a changed source leaves nothing behind."""

import socket
import subprocess
import sys
import threading
from contextlib import closing
from uuid import uuid4

import pytest
from haystack import Document, Pipeline

from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
    ContextualTextEmbedder,
)

WIDTH = 64
NO_TELEMETRY = {"anonymized_telemetry": False}


class Chroma:
    """On disk; its integration has async methods for a server only, so there is one on loopback."""

    def __init__(self, path, distance, port):
        from haystack_integrations.document_stores.chroma import ChromaDocumentStore

        place = {"host": "127.0.0.1", "port": port} if port else {"persist_path": str(path)}
        self.store = ChromaDocumentStore(
            collection_name=uuid4().hex,  # tests share the server
            distance_function=distance,
            client_settings=NO_TELEMETRY,
            **place,
        )

    def retriever(self):
        from haystack_integrations.components.retrievers.chroma import ChromaEmbeddingRetriever

        return ChromaEmbeddingRetriever(self.store, top_k=3)


class Qdrant:
    """On disk, in this process."""

    def __init__(self, path, distance, _port):
        from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

        self.store = QdrantDocumentStore(
            path=str(path),
            embedding_dim=WIDTH,
            similarity=distance,
            return_embedding=True,
            progress_bar=False,
        )

    def retriever(self):
        from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever

        return QdrantEmbeddingRetriever(self.store, top_k=3, return_embedding=True)


@pytest.fixture(scope="module")
def chroma_server(tmp_path_factory):
    """A Chroma server on loopback over a folder; its port."""
    pytest.importorskip("chromadb")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = "from chromadb.cli.cli import app; app()"
    folder = tmp_path_factory.mktemp("server")
    arguments = ["run", "--path", str(folder), "--port", str(port)]
    listening = threading.Event()

    def follow(output):
        """Read to the end, so that the server never waits for a full pipe."""
        for line in output:
            if b"listening on address" in line:
                listening.set()

    with subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as server:
        reader = threading.Thread(target=follow, args=(server.stdout,))
        reader.start()
        try:
            assert listening.wait(120), "the server has not said that it listens"
            yield port
        finally:
            server.terminate()
            reader.join()


CASES = [
    (Chroma, "cosine"),
    (Chroma, "l2"),
    (Chroma, "ip"),
    (Qdrant, "cosine"),
    (Qdrant, "dot_product"),
    (Qdrant, "l2"),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].__name__}-{case[1]}")
def database(request, call, tmp_path):
    kind, distance = request.param
    pytest.importorskip(f"haystack_integrations.document_stores.{kind.__name__.lower()}")
    served = kind is Chroma and call.is_async
    port = request.getfixturevalue("chroma_server") if served else None
    return kind(tmp_path / "store", distance, port)


async def stored(database, call):
    if call.is_async:
        return await database.store.filter_documents_async()
    return database.store.filter_documents()


async def close(database):
    if hasattr(database.store, "close_async"):
        await database.store.close_async()
    database.store.close()


def indexing(store, tiny):
    pipeline = Pipeline()
    embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False)
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("writer", ContextualDocumentWriter(store))
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


async def test_what_is_stored_and_found_is_right(
    call, database, tiny, chunks, texts, right, vectors
):
    pipeline = indexing(database.store, tiny)
    alone = Document(content="Terms apply.")
    await call(pipeline, {"embedder": {"documents": [*chunks[:4], alone, *chunks[4:]]}})
    rows = await stored(database, call)
    assert len(rows) == len(chunks) + 1
    (note,) = [row for row in rows if row.id == alone.id]
    assert note.embedding == pytest.approx(vectors(["Terms apply."])[0], abs=1e-6)
    assert right([row for row in rows if row.id != alone.id])

    query = Pipeline()
    query.add_component("embedder", ContextualTextEmbedder(**tiny))
    query.add_component("retriever", database.retriever())
    query.connect("embedder.embedding", "retriever.query_embedding")
    found = await call(query, {"embedder": {"text": "Who repairs the roof?"}})
    (wanted,) = vectors(["Who repairs the roof?"])
    scores = {
        document.id: sum(a * b for a, b in zip(wanted, document.embedding, strict=True))
        for document in rows
    }
    best = sorted(scores, key=scores.get, reverse=True)[:3]
    assert [document.id for document in found["retriever"]["documents"]] == best

    changed = texts | {"law": ["The tenant pays.", "Nobody repairs the roof."]}
    given = [
        Document(content=text, meta={"source_id": "law", "split_id": place})
        for place, text in enumerate(changed["law"])
    ]
    counts = (await call(pipeline, {"embedder": {"documents": given}}))["writer"]
    assert counts == {"documents_written": 2, "documents_deleted": 3, "skipped": []}
    rows = [row for row in await stored(database, call) if row.id != alone.id]
    assert len(rows) == sum(map(len, changed.values()))
    assert right(rows, changed)
    await close(database)


async def test_chunks_without_text_are_not_stored_and_their_former_rows_go(
    call, database, tiny, chunks, right
):
    pipeline = indexing(database.store, tiny)

    def chunk(content):
        return Document(content=content, meta={"source_id": "emptied.md", "split_id": 0})

    former = [chunk("It had a line."), Document(id="alone", content="So had this.")]
    await call(pipeline, {"embedder": {"documents": former}})
    emptied = [chunk(" "), Document(id="alone", content="\0\n")]
    found = await call(pipeline, {"embedder": {"documents": [*chunks, *emptied]}})
    assert found["writer"] == {
        "documents_written": len(chunks),
        "documents_deleted": 2,
        "skipped": [],
    }
    rows = await stored(database, call)
    assert len(rows) == len(chunks)
    assert right(rows)
    await close(database)


async def test_sources_named_by_strings_and_numbers_are_found_again(call, database, tiny):
    pipeline = indexing(database.store, tiny)
    for word in ("old", "new"):
        given = [
            Document(content=f"{word} {name}", meta={"source_id": name, "split_id": 0})
            for name in (7, "7", 'it\'s "q" %_* 王')
        ]
        counts = (await call(pipeline, {"embedder": {"documents": given}}))["writer"]
    assert counts == {"documents_written": 3, "documents_deleted": 3, "skipped": []}
    rows = await stored(database, call)
    assert sorted(row.content.split()[0] for row in rows) == ["new"] * 3
    await close(database)
