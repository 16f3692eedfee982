"""What the model reads of metadata: once or before every text, and never what is written here."""

import pytest
from llama_index.core import Document
from llama_index.core.schema import MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode

from ctxembed import DocumentTooLongError, InputError
from llama_index.embeddings.ctxembed import ContextualEmbedding


def nodes_of(*metadata, key="x", **fields):
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=key)}
    return [
        TextNode(text=text, relationships=source, start_char_idx=place, metadata=each, **fields)
        for place, (text, each) in enumerate(zip("abc", metadata, strict=False))
    ]


def read(fake, nodes, **settings):
    """Return the chunks that the model read of one document."""
    ContextualEmbedding(model_name="fake", **settings)(nodes)
    (window,) = fake.windows
    return [chunk.text for chunk in window.chunks]


def test_values_that_are_equal_and_read_otherwise_are_not_shared(fake):
    nodes = nodes_of({"n": 1, "t": "T"}, {"n": True, "t": "T"}, {"n": 1.0, "t": "T"})
    expected = ["t: T", "n: 1\n\na", "n: True\n\nb", "n: 1.0\n\nc"]
    assert read(fake, nodes, metadata_once=True) == expected


def test_lines_of_different_templates_are_not_shared(fake):
    nodes = nodes_of({"t": "T"}, {"t": "T"})
    nodes[1].metadata_template = "<{key}={value}>"
    assert read(fake, nodes, metadata_once=True) == ["t: T\n\na", "<t=T>\n\nb"]


def test_templates_and_separators_are_those_of_the_nodes(fake):
    metadata = {"t": "T", "u": "U"}
    given = {"metadata_template": "<{key}={value}>", "metadata_separator": "&"}
    nodes = nodes_of(metadata, metadata, **given, text_template="[{metadata_str}] {content}")
    assert read(fake, nodes) == ["[<t=T>&<u=U>] a", "[<t=T>&<u=U>] b"]


def test_shared_metadata_keeps_its_template(fake):
    metadata = {"t": "T", "u": "U"}
    given = {"metadata_template": "<{key}={value}>", "metadata_separator": "&"}
    expected = ["<t=T>&<u=U>", "a", "b"]
    assert read(fake, nodes_of(metadata, metadata, **given), metadata_once=True) == expected


def test_metadata_too_long_to_be_a_chunk_is_named_as_what_it_is(fake):
    nodes = nodes_of(*[{"t": "secret " * 1001}] * 2)
    with pytest.raises(DocumentTooLongError, match=r"^Document 0 \('x'\): the metadata") as info:
        ContextualEmbedding(model_name="fake", metadata_once=True)(nodes)
    assert info.value.chunk is None
    assert "secret" not in str(info.value)
    nodes = nodes_of({"t": "T"}, {"t": "T"})
    nodes[1].text = "word " * 1001
    with pytest.raises(DocumentTooLongError, match="chunk 1: has 1001 tokens"):
        ContextualEmbedding(model_name="fake", metadata_once=True)(nodes)


@pytest.mark.parametrize("key", ["context_id", "context_index", "context_size"])
def test_metadata_under_a_key_of_the_stamp_is_read_or_refused_and_never_lost(
    fake, parser, splitter, key
):
    document = Document(text="A river.", id_="mine", metadata={key: "case 42"})
    with pytest.raises(InputError, match=f"has metadata '{key}'.*rename it") as info:
        parser([document])
    assert info.value.key == "mine"
    assert "case 42" not in str(info.value)
    assert read(fake, splitter([document])) == [f"{key}: case 42\n\nA river."]


def test_an_empty_node_gets_a_zero_row_in_its_place_beside_a_header(fake):
    nodes = nodes_of({"t": "T"}, {"t": "T"}, {"t": "T"})
    nodes[1].text = ""
    assert read(fake, nodes, metadata_once=True, empty="zero") == ["t: T", "a", "c"]
    assert [any(node.embedding) for node in nodes] == [True, False, True]


def test_all_metadata_is_read_without_the_stamp_also_once(fake, parser, document_of):
    nodes = parser([document_of(0)])
    texts = [node.text for node in nodes]
    settings = {"metadata_mode": MetadataMode.ALL, "metadata_once": True}
    assert read(fake, nodes, **settings) == ["title: Tale 0", *texts]
