"""What stands behind a retriever keeps context, by value: the table of docs/llamaindex.md.

Auto-merging and sentence windows are in test_indexes.py.
"""

from pathlib import Path

import pytest
from llama_index.core import PropertyGraphIndex, SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.indices.property_graph import ImplicitPathExtractor
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import RecursiveRetriever
from llama_index.core.schema import IndexNode

from llama_index.embeddings.ctxembed import ContextualNodeParser

PAGE = (Path(__file__).parents[2] / "docs" / "llamaindex.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["AutoMergingRetriever", "SentenceWindowNodeParser", "RecursiveRetriever"]
)
def test_the_page_has_a_row_for(name):
    assert f"| `{name}`" in PAGE


def test_small_chunks_that_lead_to_larger_ones_know_their_siblings(
    embedding, documents, contextual, is_right
):
    large = ContextualNodeParser(inner=SentenceSplitter(chunk_size=64, chunk_overlap=0))(documents)
    small = ContextualNodeParser(inner=SentenceSplitter(chunk_size=32, chunk_overlap=0))
    by_document = {
        document.id_: [node for node in large if node.ref_doc_id == document.id_]
        for document in documents
    }
    nodes = []
    for document in documents:
        for part in small([document]):
            text = part.get_content("none")
            (target,) = [n for n in by_document[document.id_] if text in n.get_content("none")][:1]
            nodes.append(IndexNode.from_text_node(part, target.node_id))
    embedding(nodes)
    for document in documents:
        mine = [node for node in nodes if node.ref_doc_id == document.id_]
        assert len(mine) > 1
        expected = contextual([node.get_content("embed") for node in mine])
        assert all(is_right(n.embedding, row) for n, row in zip(mine, expected, strict=True))
    vector = VectorStoreIndex(nodes, embed_model=embedding)
    retriever = RecursiveRetriever(
        "vector",
        retriever_dict={"vector": vector.as_retriever(similarity_top_k=3)},
        node_dict={node.node_id: node for node in large},
    )
    found = retriever.retrieve("Who crossed the river?")
    assert {each.node.node_id for each in found} <= {node.node_id for node in large}
    assert found


def test_a_property_graph_keeps_vectors_where_it_embeds_nothing_itself(
    embedding, parser, documents, contextual, is_right
):
    assert "| `PropertyGraphIndex` | `transformations=[parser, embedding]`" in PAGE
    index = PropertyGraphIndex.from_documents(
        documents[:2],
        embed_model=embedding,
        embed_kg_nodes=False,
        llm=MockLLM(),
        kg_extractors=[ImplicitPathExtractor()],
        transformations=[parser, embedding],
        use_async=False,
    )
    chunks = [n for n in index.property_graph_store.graph.nodes.values() if hasattr(n, "text")]
    assert len(chunks) == len(parser(documents[:2]))
    for title in {chunk.properties["title"] for chunk in chunks}:
        mine = [chunk for chunk in chunks if chunk.properties["title"] == title]
        mine.sort(key=lambda chunk: chunk.properties["context_index"])
        expected = contextual([f"title: {title}\n\n{chunk.text}" for chunk in mine])
        assert all(is_right(c.embedding, row) for c, row in zip(mine, expected, strict=True))


def test_an_empty_file_does_not_stop_a_folder(tmp_path, fake, embedding):
    tmp_path.joinpath("a.txt").write_text("Alpha text. More of it.", encoding="utf-8")
    tmp_path.joinpath("empty.txt").write_text("", encoding="utf-8")
    documents = SimpleDirectoryReader(
        tmp_path, filename_as_id=True, file_metadata=lambda _: {}
    ).load_data()
    once = embedding.model_copy(update={"metadata_once": True})
    index = VectorStoreIndex.from_documents(
        documents, transformations=[ContextualNodeParser(), once], embed_model=once
    )
    (node,) = index.docstore.docs.values()
    assert node.text == "Alpha text. More of it."
