"""What is wrong with a document is said and left out where documents are split."""

import logging
import pickle

import pytest
from llama_index.core import Document
from llama_index.core.node_parser import (
    HierarchicalNodeParser,
    MarkdownNodeParser,
    NodeParser,
    SentenceSplitter,
)
from llama_index.core.schema import MetadataMode, NodeRelationship, TextNode
from pydantic import ValidationError

from ctxembed import DocumentTooLongError, InputError, RateLimitError
from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser

both = pytest.mark.parametrize("is_async", [False, True])


class Lines(NodeParser):
    """One chunk per line, blank ones too."""

    def _parse_nodes(self, nodes, **_):
        return [
            TextNode(
                text=line,
                relationships={NodeRelationship.SOURCE: node.as_related_node_info()},
            )
            for node in nodes
            for line in node.get_content(MetadataMode.NONE).split("\n")
        ]


@pytest.fixture
def embedding():
    return ContextualEmbedding(model_name="fake")


@pytest.fixture
def lines():
    return ContextualNodeParser(inner=Lines())


def lenient(embedding, inner=None, **fields):
    inner = inner or MarkdownNodeParser()
    return ContextualNodeParser(inner=inner, errors="skip", check_with=embedding, **fields)


def document(text, key, **metadata):
    return Document(text=text, id_=key, metadata=metadata)


def link(node, kind):
    return node.relationships[kind].node_id if kind in node.relationships else None


BAD = {
    "too long": "word " * 1001,
    "surrogate": "half \ud83d of a pair",
}


@pytest.fixture
def folder():
    return [
        document("All is well here.", "first"),
        *(document(text, key) for key, text in BAD.items()),
        document("", "empty"),
        document("All is well there too.", "last"),
    ]


@both
async def test_blank_chunks_are_left_out_counted_and_their_sources_named(lines, caplog, is_async):
    documents = [
        document("one\n\ntwo\n \t\nthree\n\0\0\nfour", "a", title="T"),
        document("alone\n\n", "b"),
        document("", "c", title="T"),
        document("untouched", "d"),
    ]
    with caplog.at_level(logging.WARNING):
        nodes = await lines.acall(documents) if is_async else lines(documents)
    assert [(node.ref_doc_id, node.text) for node in nodes] == [
        *(("a", text) for text in ("one", "two", "three", "four")),
        ("b", "alone"),
        ("d", "untouched"),
    ]
    stamps = [(n.metadata["context_index"], n.metadata["context_size"]) for n in nodes]
    assert stamps == [(0, 4), (1, 4), (2, 4), (3, 4), (0, 1), (0, 1)]
    assert caplog.messages == ["Chunks without text, left out: 6, of 'a', 'b', 'c'."]
    assert lines.failures == []


def test_neighbours_of_a_blank_chunk_are_linked_past_it(lines):
    nodes = lines([document("\none\n\n\ntwo\nthree\n ", "a"), document("other", "b")])
    one, two, three, other = nodes
    chain = [(None, two), (one, three), (two, None), (None, None)]
    for node, (before, after) in zip([one, two, three, other], chain, strict=True):
        expected = [None if each is None else each.node_id for each in (before, after)]
        kinds = (NodeRelationship.PREVIOUS, NodeRelationship.NEXT)
        assert [link(node, kind) for kind in kinds] == expected


def test_vectors_beside_a_blank_chunk_are_those_of_the_document_without_it(lines, embedding, fake):
    found = embedding(lines([document("one\n\ntwo\n\0", "a")]))
    right = embedding(lines([document("one\ntwo", "a")]))
    assert [node.embedding for node in found] == [node.embedding for node in right]


@pytest.mark.parametrize("text", ["", "  \n ", "\0\0"])
@pytest.mark.parametrize(
    "inner",
    [
        SentenceSplitter(chunk_size=32, chunk_overlap=0),
        HierarchicalNodeParser.from_defaults([64, 24], chunk_overlap=0),
        MarkdownNodeParser(),
    ],
    ids=lambda inner: type(inner).__name__,
)
def test_a_document_without_text_gives_no_nodes_and_is_named(inner, text, caplog):
    parser = ContextualNodeParser(inner=inner)
    with caplog.at_level(logging.WARNING, "llama_index.embeddings.ctxembed"):
        assert parser([document(text, "blank", title="T")]) == []
        assert "of 'blank'." in "".join(caplog.messages)
        assert len([each for each in caplog.messages if "without text" in each]) == 1


def test_a_warning_names_ten_sources_and_counts_the_others(lines, caplog):
    lines([document("", f"d{number}") for number in range(13)])
    assert "left out: 13, of 'd0', 'd1'" in caplog.text
    assert "'d9' and 3 more." in caplog.text
    assert "d10" not in caplog.text


@both
async def test_skipped_documents_are_logged_and_listed_and_the_others_go_on(
    embedding, fake, folder, caplog, is_async
):
    parser = lenient(embedding)
    with caplog.at_level(logging.WARNING):
        nodes = await parser.acall(folder) if is_async else parser(folder)
    assert [node.ref_doc_id for node in nodes] == ["first", "last"]
    assert fake.batches == []
    surrogate, too_long = parser.failures
    assert (type(surrogate), surrogate.key, surrogate.document) == (InputError, "surrogate", 2)
    assert (type(too_long), too_long.key, too_long.document) == (
        DocumentTooLongError,
        "too long",
        1,
    )
    assert [each for each in caplog.messages if "without text" not in each] == [
        f"Left out: {surrogate}",
        f"Left out: {too_long}",
    ]
    assert "word word" not in caplog.text
    embedding(nodes)
    assert all(node.embedding for node in nodes)
    assert parser([folder[0]]) != []
    assert parser.failures == []


@pytest.mark.parametrize("key", BAD)
def test_by_default_a_bad_document_raises_and_is_named(embedding, fake, key):
    steps = ContextualNodeParser(inner=MarkdownNodeParser(), embed_model=embedding)
    with pytest.raises(InputError) as info:
        steps([document("fine", "good"), document(BAD[key], key)])
    assert (info.value.key, info.value.document) == (key, 1)
    with pytest.raises(InputError):
        embedding([TextNode(text="fine"), TextNode(text="")])


def test_all_levels_of_a_document_go_where_one_cannot_be_embedded(embedding, fake):
    inner = HierarchicalNodeParser(
        node_parser_ids=["whole", "parts"],
        node_parser_map={
            "whole": SentenceSplitter(chunk_size=2048, chunk_overlap=0),
            "parts": SentenceSplitter(chunk_size=64, chunk_overlap=0),
        },
    )
    parser = lenient(embedding, inner)
    nodes = parser([document("Some words. " * 600, "long"), document("Short. " * 90, "short")])
    assert {node.ref_doc_id for node in nodes} == {"short"}
    assert [error.key for error in parser.failures] == ["long"]


def test_metadata_that_makes_a_chunk_too_long_counts_as_the_embedding_reads_it(fake):
    title = "word " * 600
    text = "word " * 600
    both_read = ContextualEmbedding(model_name="fake")
    text_only = both_read.model_copy(update={"metadata_mode": MetadataMode.NONE})
    shared = both_read.model_copy(update={"metadata_once": True})
    left_out = []
    for embedding in (both_read, text_only, shared):
        parser = lenient(embedding)
        parser([document(text, "a", title=title), document("fine", "b", title="T")])
        left_out.append([error.key for error in parser.failures])
    assert left_out == [["a"], [], []]
    parser = lenient(shared)
    parser([document("fine", "a", title=title * 2)])
    (error,) = parser.failures
    assert "the metadata that its nodes share" in str(error)
    assert error.chunk is None


def test_metadata_with_a_lone_surrogate_is_refused_unless_nobody_reads_it(lines):
    with pytest.raises(InputError, match=r"\('a'\): its metadata has a lone surrogate"):
        lines([document("fine", "a", file_name="\udcff.txt")])
    hidden = document("fine", "a", file_name="\udcff.txt")
    hidden.excluded_embed_metadata_keys = hidden.excluded_llm_metadata_keys = ["file_name"]
    assert len(lines([hidden])) == 1


def test_the_other_refusals_of_a_parser_are_skipped_too(embedding, fake):
    parser = lenient(embedding)
    documents = [
        document("one", "twice"),
        document("fine", "fine"),
        document("two", "twice"),
        document("three", "claimed", context_id="mine"),
    ]
    assert [node.ref_doc_id for node in parser(documents)] == ["fine"]
    assert [(error.key, error.document) for error in parser.failures] == [
        ("twice", 2),
        ("claimed", 3),
    ]


@both
async def test_in_one_step_bad_documents_are_skipped_and_the_others_embedded(
    embedding, fake, folder, is_async
):
    parser = ContextualNodeParser(inner=MarkdownNodeParser(), errors="skip", embed_model=embedding)
    nodes = await parser.acall(folder) if is_async else parser(folder)
    assert [node.ref_doc_id for node in nodes if node.embedding] == ["first", "last"]
    assert {error.key for error in parser.failures} == {"surrogate", "too long"}


@both
async def test_a_refusal_of_the_server_raises_whatever_is_skipped(
    embedding, fake, folder, is_async
):
    def fault(batch):
        raise RateLimitError("too many requests", status_code=429)

    fake._fault = fault
    parser = ContextualNodeParser(inner=MarkdownNodeParser(), errors="skip", embed_model=embedding)
    with pytest.raises(RateLimitError):
        await parser.acall(folder) if is_async else parser(folder)


def test_skipping_needs_an_embedding_that_counts_tokens():
    with pytest.raises(ValidationError, match="Hint: check_with=embedding"):
        ContextualNodeParser(errors="skip")
    with pytest.raises(ValidationError):
        ContextualNodeParser(errors="ignore")


def test_what_is_checked_is_in_the_dict_and_survives_pickling(embedding):
    parser = lenient(embedding)
    assert parser.to_dict()["errors"] == "skip"
    assert parser.to_dict()["check_with"] == embedding.to_dict()
    again = pickle.loads(pickle.dumps(parser))
    assert again.to_dict() == parser.to_dict()
    shorter = lenient(embedding.model_copy(update={"dimensions": 8}))
    assert shorter.to_dict() != parser.to_dict()
