"""Stores on disk: the rows that Chroma and Qdrant hold, read back by their own clients."""

import json

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.storage.docstore import SimpleDocumentStore

# Qdrant on disk, without a server, says so of the index that LlamaIndex asks for.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


def chroma(folder):
    """Return a store, and a function that reads its rows through another client."""
    chromadb = pytest.importorskip("chromadb")
    stores = pytest.importorskip("llama_index.vector_stores.chroma")
    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(folder), settings=settings)
    collection = client.create_collection("tales")

    def rows():
        found = client.get_collection("tales").get(
            include=["embeddings", "documents", "metadatas"]
        )
        columns = found["metadatas"], found["documents"], found["embeddings"]
        return [(m["ref_doc_id"], text, row) for m, text, row in zip(*columns, strict=True)]

    return stores.ChromaVectorStore(chroma_collection=collection), rows


def qdrant(folder):
    qdrant_client = pytest.importorskip("qdrant_client")
    stores = pytest.importorskip("llama_index.vector_stores.qdrant")
    client = qdrant_client.QdrantClient(path=str(folder))

    def rows():
        records, _ = client.scroll("tales", limit=1000, with_vectors=True)
        texts = [json.loads(record.payload["_node_content"])["text"] for record in records]
        vectors = [v[""] if isinstance(v := record.vector, dict) else v for record in records]
        keys = [record.payload["ref_doc_id"] for record in records]
        return list(zip(keys, texts, vectors, strict=True))

    return stores.QdrantVectorStore("tales", client=client), rows


@pytest.fixture(params=[chroma, qdrant], ids=["chroma", "qdrant"])
def store(request, tmp_path):
    return request.param(tmp_path)


def test_an_index_stores_every_document_right(store, embedding, parser, documents, check):
    vector_store, rows = store
    index = VectorStoreIndex.from_documents(
        documents[:10],
        storage_context=StorageContext.from_defaults(vector_store=vector_store),
        transformations=[parser, embedding],
        embed_model=embedding,
    )
    check(rows(), documents[:10])
    for document in documents[10:]:
        index.insert(document)
    check(rows(), documents)


def test_an_upsert_replaces_the_changed_document(
    store, embedding, parser, documents, document_of, check
):
    vector_store, rows = store
    pipeline = IngestionPipeline(
        transformations=[parser, embedding],
        docstore=SimpleDocumentStore(),
        vector_store=vector_store,
    )
    pipeline.run(documents=documents)
    check(rows(), documents)
    fresh = list(documents)
    fresh[4] = document_of(4, documents[4].text.replace("1802", "1902"))
    assert {node.ref_doc_id for node in pipeline.run(documents=fresh)} == {"tale-4"}
    check(rows(), fresh)
