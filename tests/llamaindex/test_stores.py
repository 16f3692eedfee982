"""The rows that vector stores hold, in memory and on disk, whichever way the nodes went in.

Chroma and Qdrant are read back by their own clients.
"""

import asyncio
import json
import random

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import HierarchicalNodeParser
from llama_index.core.schema import MetadataMode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from llama_index.embeddings.ctxembed import ContextualNodeParser

# Qdrant on disk, without a server, says so of the index that LlamaIndex asks for.
pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning")


class WithTexts(SimpleVectorStore):
    """The in-memory store, which keeps no texts, with the texts."""

    _texts: dict = PrivateAttr(default_factory=dict)

    def add(self, nodes, **keywords):
        self._texts.update({node.node_id: node.get_content("none") for node in nodes})
        return super().add(nodes, **keywords)


def memory(_):
    """Return a store, and a function that gives its rows by node id."""
    store = WithTexts()

    def rows():
        vectors, sources = store.data.embedding_dict, store.data.text_id_to_ref_doc_id
        return {key: (sources[key], store._texts[key], row) for key, row in vectors.items()}

    return store, rows


def chroma(folder):
    chromadb = pytest.importorskip("chromadb")
    stores = pytest.importorskip("llama_index.vector_stores.chroma")
    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(str(folder), settings=settings)
    collection = client.create_collection("tales")

    def rows():
        found = client.get_collection("tales").get(
            include=["embeddings", "documents", "metadatas"]
        )
        columns = found["ids"], found["metadatas"], found["documents"], found["embeddings"]
        return {
            key: (metadata["ref_doc_id"], text, row)
            for key, metadata, text, row in zip(*columns, strict=True)
        }

    return stores.ChromaVectorStore(chroma_collection=collection), rows


def qdrant(folder):
    qdrant_client = pytest.importorskip("qdrant_client")
    stores = pytest.importorskip("llama_index.vector_stores.qdrant")
    client = qdrant_client.QdrantClient(path=str(folder))

    def rows():
        records, _ = client.scroll("tales", limit=1000, with_vectors=True)
        found = {}
        for record in records:
            text = json.loads(record.payload["_node_content"])["text"]
            vector = record.vector[""] if isinstance(record.vector, dict) else record.vector
            found[record.id] = record.payload["ref_doc_id"], text, vector
        return found

    return stores.QdrantVectorStore("tales", client=client), rows


@pytest.fixture(params=[memory, chroma, qdrant], ids=["memory", "chroma", "qdrant"])
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
    check(rows().values(), documents[:10])
    for document in documents[10:]:
        index.insert(document)
    check(rows().values(), documents)


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
    check(rows().values(), documents)
    fresh = list(documents)
    fresh[4] = document_of(4, documents[4].text.replace("1802", "1902"))
    assert {node.ref_doc_id for node in pipeline.run(documents=fresh)} == {"tale-4"}
    check(rows().values(), fresh)


def shuffled_nodes(pipeline, parser, documents):
    pipeline.transformations = pipeline.transformations[1:]
    nodes = parser(documents)
    pipeline.run(nodes=random.Random(5).sample(nodes, len(nodes)))


def documents_with_an_embedding(pipeline, _, documents):
    for document in documents:
        document.embedding = [1.0] + [0.0] * 63
    pipeline.run(documents=documents)


def two_workers(pipeline, _, documents):
    """Work async and store sync: Qdrant on disk takes one client, and that one isn't async."""
    store, pipeline.vector_store = pipeline.vector_store, None
    store.add(asyncio.run(pipeline.arun(documents=documents, num_workers=2)))


# The async workers are forked from a process that has threads.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Specified num_workers exceed number of CPUs:UserWarning")
@pytest.mark.usefixtures("vocabulary")
@pytest.mark.parametrize("way", [shuffled_nodes, documents_with_an_embedding, two_workers])
def test_a_pipeline_stores_every_document_right(store, embedding, parser, documents, check, way):
    vector_store, rows = store
    pipeline = IngestionPipeline(transformations=[parser, embedding], vector_store=vector_store)
    way(pipeline, parser, documents)
    check(rows().values(), documents)


def test_each_level_of_a_hierarchy_is_stored_as_its_own_context(
    store, embedding, documents, contextual, is_right
):
    vector_store, rows = store
    levels = HierarchicalNodeParser.from_defaults(chunk_sizes=[64, 24], chunk_overlap=0)
    pipeline = IngestionPipeline(
        transformations=[ContextualNodeParser(inner=levels), embedding], vector_store=vector_store
    )
    nodes = pipeline.run(documents=documents)
    found = rows()
    assert found.keys() == {node.node_id for node in nodes}
    seen = 0
    for document in documents:
        for is_leaf in (False, True):
            level = [
                node
                for node in nodes
                if node.ref_doc_id == document.id_ and (node.parent_node is not None) == is_leaf
            ]
            assert " ".join(node.text for node in level).split() == document.text.split()
            right = contextual([node.get_content(MetadataMode.EMBED) for node in level])
            for node, expected in zip(level, right, strict=True):
                key, text, row = found[node.node_id]
                assert (key, text) == (document.id_, node.text)
                assert is_right(row, expected)
            seen += len(level)
    assert seen == len(found)


def test_two_groupings_of_the_same_texts_through_one_cache_are_stored_right(
    store, embedding, splitter, contextual, is_right
):
    vector_store, rows = store
    one, two, three = (
        f"The {name} crossed a very wide river in flood on the way to the old town, they say."
        for name in ("king", "miller", "wolf")
    )
    groupings = {
        "a": [[one, two], [three]],
        "b": [[one], [two, three]],
        "c": [[one, two, three]],
        "d": [[three, two, one]],
    }
    cache = IngestionCache()
    expected = {}
    for name, groups in groupings.items():
        given = {f"{name}{number}": group for number, group in enumerate(groups)}
        pipeline = IngestionPipeline(
            transformations=[ContextualNodeParser(inner=splitter), embedding],
            cache=cache,
            vector_store=vector_store,
        )
        pipeline.run(documents=[Document(text=" ".join(g), id_=key) for key, g in given.items()])
        expected |= given
    found = list(rows().values())
    assert len(found) == sum(map(len, expected.values()))
    for key, group in expected.items():
        mine = {text: row for owner, text, row in found if owner == key}
        assert mine.keys() == set(group)
        for text, right in zip(group, contextual(group), strict=True):
            assert is_right(mine[text], right)
