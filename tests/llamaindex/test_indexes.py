"""Indexes and retrievers: the rows in the vector store, for every document that went in."""

import asyncio
import logging

import pytest
from llama_index.core import (
    PropertyGraphIndex,
    Settings,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.indices.property_graph import ImplicitPathExtractor
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import (
    HierarchicalNodeParser,
    SentenceWindowNodeParser,
    get_leaf_nodes,
)
from llama_index.core.postprocessor import MetadataReplacementPostProcessor
from llama_index.core.retrievers import AutoMergingRetriever
from llama_index.core.storage.docstore import SimpleDocumentStore

from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser


def stored(index):
    """Return the rows of an index over the in-memory store: its vectors, and their texts."""
    vectors = index.vector_store.data.embedding_dict
    sources = index.vector_store.data.text_id_to_ref_doc_id
    nodes = index.docstore.docs
    assert vectors.keys() == nodes.keys()
    return [(sources[key], nodes[key].get_content("none"), row) for key, row in vectors.items()]


def test_from_documents_insert_and_refresh(
    transformations, embedding, documents, check, document_of
):
    index = VectorStoreIndex.from_documents(
        documents[:8], transformations=transformations, embed_model=embedding, insert_batch_size=5
    )
    check(stored(index), documents[:8])
    index.insert(documents[8])
    check(stored(index), documents[:9])
    changed = document_of(3, documents[3].text.replace("river", "bridge").replace("king", "queen"))
    assert changed.text != documents[3].text
    fresh = [*documents[:3], changed, *documents[4:9]]
    assert index.refresh_ref_docs(fresh) == [False] * 3 + [True] + [False] * 5
    check(stored(index), fresh)
    assert (
        index.refresh_ref_docs([document_of(n, d.text) for n, d in enumerate(fresh)])
        == [False] * 9
    )
    index.delete_ref_doc("tale-0", delete_from_docstore=True)
    check(stored(index), fresh[1:])


async def test_ainsert_and_arefresh(transformations, embedding, documents, check, document_of):
    index = VectorStoreIndex.from_documents(
        documents[:3], transformations=transformations, embed_model=embedding, use_async=False
    )
    await index.ainsert(documents[3])
    check(stored(index), documents[:4])
    changed = document_of(
        1, f"{documents[1].text} And a last sentence about the bridge in the rain."
    )
    assert await index.arefresh_ref_docs([documents[0], changed]) == [False, True]
    check(stored(index), [documents[0], changed, *documents[2:4]])


def test_only_the_changed_document_is_embedded_by_refresh(fake, splitter, documents, document_of):
    embedding = ContextualEmbedding(model_name="fake")
    parser = ContextualNodeParser(inner=splitter)
    index = VectorStoreIndex.from_documents(
        documents, transformations=[parser, embedding], embed_model=embedding
    )
    assert len(fake.windows) == 12
    index.refresh_ref_docs([*documents[:5], document_of(5, documents[6].text), *documents[6:]])
    assert len(fake.windows) == 13


def test_documents_that_have_an_embedding_already(embedding, parser, documents, check):
    for document in documents:
        document.embedding = [1.0] + [0.0] * 63
    index = VectorStoreIndex.from_documents(
        documents, transformations=[parser, embedding], embed_model=embedding
    )
    check(stored(index), documents)


def test_auto_merging_over_embedded_leaves(embedding, documents, contextual, is_right):
    parser = ContextualNodeParser(
        inner=HierarchicalNodeParser.from_defaults([96, 32], chunk_overlap=0)
    )
    nodes = parser(documents)
    leaves = get_leaf_nodes(nodes)
    assert 12 < len(leaves) < len(nodes)
    embedding(leaves)
    docstore = SimpleDocumentStore()
    docstore.add_documents(nodes)
    storage = StorageContext.from_defaults(docstore=docstore)
    index = VectorStoreIndex(leaves, storage_context=storage, embed_model=embedding)
    vectors = index.vector_store.data.embedding_dict
    assert vectors.keys() == {node.node_id for node in leaves}
    for document in documents:
        mine = [node for node in leaves if node.ref_doc_id == document.id_]
        right = contextual([node.get_content("embed") for node in mine])
        assert all(is_right(vectors[n.node_id], row) for n, row in zip(mine, right, strict=True))
    retriever = AutoMergingRetriever(
        index.as_retriever(similarity_top_k=len(leaves)), storage, verbose=False
    )
    merged = retriever.retrieve("Who crossed the river?")
    assert {each.node.node_id for each in merged} == {
        node.node_id for node in nodes if node.parent_node is None
    }


def test_sentence_window_retrieval(embedding, documents, check):
    parser = ContextualNodeParser(inner=SentenceWindowNodeParser.from_defaults(window_size=1))
    index = VectorStoreIndex.from_documents(
        documents, transformations=[parser, embedding], embed_model=embedding
    )
    check([(key, part.strip(), row) for key, part, row in stored(index)], documents)
    found = index.as_retriever(similarity_top_k=3).retrieve("Who crossed the river?")
    sentence = found[0].node.metadata["original_text"]
    (shown, *_) = MetadataReplacementPostProcessor("window").postprocess_nodes(found)
    assert sentence.strip() in shown.node.get_content("none")
    assert len(shown.node.get_content("none")) > len(sentence)


def test_a_query_engine_shows_the_llm_no_stamps(embedding, parser, documents):
    index = VectorStoreIndex.from_documents(
        documents, transformations=[parser, embedding], embed_model=embedding
    )
    answer = index.as_query_engine(llm=MockLLM(), similarity_top_k=3).query(
        "Who crossed the river?"
    )
    assert "title: Tale" in str(answer)
    assert "context_" not in str(answer)


def test_a_property_graph_embeds_its_texts_alone(
    embedding, parser, documents, contextual, is_right
):
    index = PropertyGraphIndex.from_documents(
        documents[:2],
        embed_model=embedding,
        llm=MockLLM(),
        kg_extractors=[ImplicitPathExtractor()],
        transformations=[parser],
        use_async=False,
    )
    chunks = [n for n in index.property_graph_store.graph.nodes.values() if hasattr(n, "text")]
    assert len(chunks) == len(parser(documents[:2]))
    for chunk in chunks:
        text = f"title: {chunk.properties['title']}\n\n{chunk.text}"
        assert is_right(chunk.embedding, contextual([text])[0])


def test_an_index_loaded_again_inserts_and_updates_right_with_its_transformations(
    embedding, transformations, documents, document_of, check, tmp_path
):
    given = {"transformations": transformations, "embed_model": embedding}
    index = VectorStoreIndex.from_documents(documents[:3], **given)
    index.storage_context.persist(str(tmp_path))
    again = load_index_from_storage(
        StorageContext.from_defaults(persist_dir=str(tmp_path)), **given
    )
    check(stored(again), documents[:3])
    again.insert(documents[3])
    changed = document_of(1, f"{documents[1].text} And the bridge was never built.")
    again.update_ref_doc(changed)
    check(stored(again), [documents[0], changed, *documents[2:4]])
    again.delete_ref_doc("tale-2", delete_from_docstore=True)
    check(stored(again), [documents[0], changed, documents[3]])


def test_an_index_loaded_without_them_embeds_alone_and_says_so(
    embedding, parser, documents, contextual, is_right, caplog, tmp_path
):
    index = VectorStoreIndex.from_documents(
        documents[:1], transformations=[parser, embedding], embed_model=embedding
    )
    index.storage_context.persist(str(tmp_path))
    storage = StorageContext.from_defaults(persist_dir=str(tmp_path))
    again = load_index_from_storage(
        storage, embed_model=embedding.model_copy(deep=True), transformations=[parser]
    )
    with caplog.at_level(logging.WARNING):
        again.insert(documents[1])
    assert [m for m in caplog.messages if "without context" in m]
    for node in parser(documents[1:2]):
        (row,) = [row for key, text, row in stored(again) if (key, text) == ("tale-1", node.text)]
        assert is_right(row, contextual([node.get_content("embed")])[0])


@pytest.fixture
def global_settings():
    before = dict(vars(Settings))
    yield Settings
    vars(Settings).clear()
    vars(Settings).update(before)


@pytest.mark.parametrize("use_async", [False, True])
def test_global_settings_are_enough(
    embedding, transformations, documents, check, global_settings, use_async
):
    global_settings.embed_model = embedding
    global_settings.transformations = transformations
    index = VectorStoreIndex.from_documents(documents[:4], use_async=use_async)
    index.insert(documents[4])
    check(stored(index), documents[:5])
    assert len(index.as_retriever(similarity_top_k=3).retrieve("Who crossed the river?")) == 3


async def test_documents_inserted_at_once_are_each_right(
    embedding, transformations, documents, check
):
    index = VectorStoreIndex([], transformations=transformations, embed_model=embedding)
    await asyncio.gather(*map(index.ainsert, documents))
    check(stored(index), documents)
