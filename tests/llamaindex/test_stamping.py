"""Nodes that are dropped, added or changed after the parser are stamped again, by value."""

import random

import pytest
from llama_index.core.node_parser import HierarchicalNodeParser
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from llama_index.embeddings.ctxembed import ContextualNodeParser, stamp_context
from llama_index.embeddings.ctxembed.node_metadata import read_stamp


@pytest.fixture
def right(embedding, contextual, is_right):
    """Tell whether nodes, in the order of their document, have the vectors of these siblings."""

    def check(nodes, shuffled=()):
        embedding(shuffled or nodes)
        texts = [node.get_content("embed") for node in nodes]
        rows = contextual(texts)
        assert all(is_right(n.embedding, row) for n, row in zip(nodes, rows, strict=True))
        return True

    return check


def test_dropped_nodes_are_no_siblings_any_more(parser, document_of, right):
    nodes = parser([document_of(0), document_of(1)])
    before = {node.node_id: read_stamp(node).id for node in nodes}
    kept = [node for node in nodes if node.ref_doc_id == "tale-0"]
    del kept[1]
    shuffled = random.Random(1).sample(kept, len(kept))
    assert [id(node) for node in stamp_context(shuffled)] == [id(node) for node in shuffled]
    stamps = [read_stamp(node) for node in kept]
    assert [(stamp.place, stamp.size) for stamp in stamps] == [
        (n, len(kept)) for n in range(len(kept))
    ]
    assert {stamp.id for stamp in stamps}.isdisjoint(before.values())
    assert right(kept, shuffled)


def test_changed_nodes_get_another_stamp(parser, document_of, right):
    nodes = parser([document_of(0)])
    before = read_stamp(nodes[0]).id
    nodes[2].set_content("The wolf is gone.")
    stamp_context(nodes)
    assert read_stamp(nodes[0]).id != before
    assert right(nodes)


def test_nodes_without_a_stamp_join_their_document(parser, document_of, right):
    nodes = parser([document_of(0)])
    source = RelatedNodeInfo(node_id="tale-0")
    nodes.append(TextNode(text="Summary.", relationships={NodeRelationship.SOURCE: source}))
    stamp_context(nodes)
    assert [read_stamp(node).place for node in nodes] == [*range(len(nodes))]
    assert right(nodes)


def test_levels_of_a_hierarchy_stay_apart(document_of):
    levels = HierarchicalNodeParser.from_defaults([96, 32], chunk_overlap=0)
    nodes = ContextualNodeParser(inner=levels)([document_of(0)])
    before = [read_stamp(node) for node in nodes]
    stamp_context(nodes)
    assert [read_stamp(node).size for node in nodes] == [stamp.size for stamp in before]


def test_the_model_is_part_of_a_stamp_where_it_is_given(parser, document_of, embedding):
    nodes = parser([document_of(0)])
    ids = [read_stamp(stamp_context(nodes, embed_model=each)[0]).id for each in (None, embedding)]
    assert len({*ids, read_stamp(nodes[0]).id}) == 2
