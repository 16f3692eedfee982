"""Which nodes belong together, in which order, and what is refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core import Document
from llama_index.core.node_parser import (
    HierarchicalNodeParser,
    MarkdownNodeParser,
    SentenceSplitter,
    get_leaf_nodes,
)
from llama_index.core.schema import IndexNode, NodeRelationship, RelatedNodeInfo, TextNode

from ctxembed import InputError
from llama_index.embeddings.ctxembed import ContextualNodeParser
from llama_index.embeddings.ctxembed.siblings import check_complete, group_siblings


def node(text, key=None, start=None, **related):
    links = {"source": key, **related}
    relationships = {
        NodeRelationship[name.upper()]: RelatedNodeInfo(node_id=value)
        for name, value in links.items()
        if value is not None
    }
    return TextNode(id_=text, text=text, relationships=relationships, start_char_idx=start)


def grouped(nodes):
    return [(group.key, [each.text for each in group.nodes]) for group in group_siblings(nodes)]


def test_nodes_are_grouped_by_source_in_first_seen_order_and_ordered_by_offset():
    nodes = [node("b2", "b", 9), node("x"), node("a1", "a", 0), node("y"), node("b1", "b", 3)]
    assert grouped(nodes) == [("b", ["b1", "b2"]), (None, ["x"]), ("a", ["a1"]), (None, ["y"])]


def test_without_all_offsets_the_given_order_stands():
    assert grouped([node("2", "a", 9), node("1", "a"), node("3", "a", 3)]) == [
        ("a", ["2", "1", "3"])
    ]


def test_equal_ids_and_texts_do_not_collapse():
    nodes = [node("same", "a", 0), node("same", "a", 4), node("same", "b", 0)]
    assert grouped(nodes) == [("a", ["same", "same"]), ("b", ["same"])]


def test_links_order_what_offsets_cannot():
    nodes = [node("2", "a", previous="1"), node("3", "a", previous="2"), node("1", "a")]
    assert grouped(nodes) == [("a", ["1", "2", "3"])]


def test_links_in_a_circle_are_not_followed_for_ever():
    nodes = [node("1", "a", previous="2"), node("2", "a", previous="1"), node("3", "a")]
    assert grouped(nodes) == [("a", ["1", "2", "3"])]
    parents = [node("1", "a", 0, parent="2"), node("2", "a", 0, parent="1")]
    assert [group.level for group in group_siblings(parents)] == [2]


@pytest.fixture
def long_document():
    text = "\n\n\n".join(
        " ".join(f"Sentence {n} of part {part} tells of a river." for n in range(4))
        for part in range(5)
    )
    return Document(text=text, id_="long")


def levels(nodes):
    return [[each.text for each in group.nodes] for group in group_siblings(nodes)]


@pytest.mark.parametrize("seed", range(5))
def test_each_level_of_a_hierarchy_is_in_document_order_though_offsets_start_anew(
    long_document, seed
):
    parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[128, 48, 16], chunk_overlap=0)
    nodes = parser.get_nodes_from_documents([long_document])
    assert len(levels(nodes)) == 3
    shuffled = random.Random(seed).sample(nodes, len(nodes))
    for level in levels(shuffled):
        assert " ".join(level).split() == long_document.text.split()


def test_leaves_alone_are_siblings_in_the_order_given(long_document):
    parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[128, 16], chunk_overlap=0)
    leaves = get_leaf_nodes(parser.get_nodes_from_documents([long_document]))
    (level,) = levels(leaves)
    assert " ".join(level).split() == long_document.text.split()
    check_complete(group_siblings(leaves))


@pytest.mark.parametrize("seed", range(5))
def test_nodes_split_twice_are_in_document_order(seed, sections):
    nodes = SentenceSplitter(chunk_size=16, chunk_overlap=0)(sections)
    assert len({each.start_char_idx for each in nodes}) < len(nodes)
    shuffled = random.Random(seed).sample(nodes, len(nodes))
    (level,) = levels(shuffled)
    assert " ".join(level).split() == " ".join(each.text for each in sections).split()


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.integers(0, 50)), max_size=20))
def test_every_node_is_in_one_group_and_order_is_that_of_offsets(items):
    nodes = [node(str(n), key, start) for n, (key, start) in enumerate(items)]
    groups = group_siblings(nodes)
    together = [each for group in groups for each in group.nodes]
    assert sorted(map(id, together)) == sorted(map(id, nodes))
    for group in groups:
        assert len({each.ref_doc_id for each in group.nodes}) == 1
        starts = [each.start_char_idx for each in group.nodes]
        assert starts == sorted(starts)
    assert len(groups) == sum(key is None for key, _ in items) + len(
        {k for k, _ in items} - {None}
    )


IDS = st.sampled_from(["0", "1", "2", "3", "gone"])
LINKS = st.dictionaries(st.sampled_from(["previous", "next", "parent"]), IDS)


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), IDS, LINKS), max_size=10))
def test_no_node_is_lost_whatever_the_links_and_ids_say(items):
    nodes = [node(id_, key, place, **links) for place, (key, id_, links) in enumerate(items)]
    for groups in (group_siblings(nodes), group_siblings(nodes, parsed=True)):
        together = [each for group in groups for each in group.nodes]
        assert sorted(map(id, together)) == sorted(map(id, nodes))


@pytest.fixture
def sections():
    parts = (
        f"# Part {part}\n\n" + " ".join(f"Sentence {n} of part {part} here." for n in range(5))
        for part in range(4)
    )
    return MarkdownNodeParser()([Document(text="\n\n".join(parts), id_="m")])


class ByPart(SentenceSplitter):
    """Counts offsets from the start of what it splits, and links nothing."""

    def get_nodes_from_documents(self, documents, **_):
        nodes = []
        for each in documents:
            parts = self.split_text(each.text)
            nodes += [node(part, each.ref_doc_id, each.text.index(part)) for part in parts]
        return nodes


def test_nodes_just_parsed_stay_in_their_order_though_offsets_start_anew(sections):
    nodes = ContextualNodeParser(inner=ByPart(chunk_size=16, chunk_overlap=0))(sections)
    starts = [each.start_char_idx for each in nodes]
    assert None not in starts
    assert starts != sorted(starts)
    assert [each.metadata["context_index"] for each in nodes] == [*range(len(nodes))]


def with_tables():
    """Return what a parser of tables gives: index nodes last, the tables themselves left out."""
    names = ["before", "table 1", "its text 1", "table 2", "its text 2", "after"]
    starts = [2, 40, None, 90, None, 0]
    links = [
        {"previous": previous, "next": following}
        for previous, following in zip([None, *names[:-1]], [*names[1:], None], strict=True)
    ]
    made = [
        node(name, "d", start, **each)
        for name, start, each in zip(names, starts, links, strict=True)
    ]
    index = [
        IndexNode.from_text_node(made[place], index_id=f"its text {number}")
        for number, place in ((1, 1), (2, 3))
    ]
    return [made[0], made[5], *index]


@pytest.mark.parametrize("parsed", [False, True])
def test_index_nodes_in_the_place_of_tables_hold_a_document_together(parsed):
    groups = group_siblings(with_tables(), parsed=parsed)
    check_complete(groups)
    (group,) = groups
    assert [each.text for each in group.nodes] == ["before", "table 1", "table 2", "after"]
    with pytest.raises(InputError, match="neighbours of its nodes are not in this call"):
        check_complete(group_siblings(with_tables()[:3]))


def split(documents, stamped):
    inner = SentenceSplitter(chunk_size=32, chunk_overlap=0)
    return (ContextualNodeParser(inner=inner) if stamped else inner)(documents)


@pytest.mark.parametrize("stamped", [False, True])
def test_missing_siblings_are_refused_with_the_document_and_what_to_do(documents, stamped):
    nodes = split(documents, stamped)
    check_complete(group_siblings(nodes))
    for gone in (0, 1, 3):
        with pytest.raises(InputError, match="num_workers, give documents") as info:
            check_complete(group_siblings([*nodes[:gone], *nodes[gone + 1 :]]))
        assert info.value.key == "tale-0"
        assert "missing_siblings" in str(info.value)
        assert nodes[1].text not in str(info.value)


def test_nodes_split_again_after_they_were_stamped_are_refused(documents):
    again = SentenceSplitter(chunk_size=16, chunk_overlap=0)(split(documents, stamped=True))
    with pytest.raises(
        InputError, match="of its nodes are in this call, where 4 were parsed together"
    ):
        check_complete(group_siblings(again))


@pytest.mark.parametrize("stamped", [False, True])
def test_whole_documents_are_complete_in_any_order(documents, stamped):
    nodes = split(documents, stamped)
    random.Random(1).shuffle(nodes)
    check_complete(group_siblings(nodes))
    for group in group_siblings(nodes):
        text = next(each.text for each in documents if each.id_ == group.key)
        assert " ".join(each.text for each in group.nodes).split() == text.split()
