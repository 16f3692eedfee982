"""What stands behind a retriever keeps context, by value: the table of docs/haystack.md."""

import logging
from pathlib import Path

import pytest
from haystack import Document, Pipeline, SuperComponent
from haystack.components.preprocessors import (
    DocumentSplitter,
    EmbeddingBasedDocumentSplitter,
    HierarchicalDocumentSplitter,
)
from haystack.components.retrievers import (
    AutoMergingRetriever,
    MultiQueryEmbeddingRetriever,
    SentenceWindowRetriever,
)
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
    ContextualTextEmbedder,
)

PAGE = (Path(__file__).parents[2] / "docs" / "haystack.md").read_text(encoding="utf-8")
TEXT = "The king fell ill. He sent for his three sons. They rode out. They came home."
PARTS = [
    "The king fell ill.",
    " He sent for his three sons.",
    " They rode out.",
    " They came home.",
]


@pytest.fixture
def indexing(tiny):
    """Split sentences, embed and write."""

    def made(store):
        pipeline = Pipeline()
        pipeline.add_component("splitter", DocumentSplitter(split_by="period", split_length=1))
        embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False)
        pipeline.add_component("embedder", embedder)
        pipeline.add_component("writer", ContextualDocumentWriter(store))
        pipeline.connect("splitter", "embedder")
        pipeline.connect("embedder.documents", "writer.documents")
        return pipeline

    return made


@pytest.fixture
def store(indexing):
    """One document, indexed sentence by sentence."""
    found = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing(found).run({"splitter": {"documents": [Document(id="tale", content=TEXT)]}})
    return found


def is_right(documents, vectors, parts=PARTS):
    expected = dict(zip(parts, vectors(parts), strict=True))
    assert documents
    return all(d.embedding == pytest.approx(expected[d.content], abs=1e-6) for d in documents)


def test_auto_merging(tiny, vectors):
    assert "| `AutoMergingRetriever` |" in PAGE
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    splitter = HierarchicalDocumentSplitter(block_sizes={6, 3}, split_by="word")
    embedder = ContextualDocumentEmbedder(
        **tiny, source_key="file_path", order_key=None, progress_bar=False
    )
    for text in (TEXT, "The queen was well. She had no son at all."):
        page = Document(content=text, meta={"file_path": "docs/tale.md"})
        blocks = splitter.run([page])["documents"]
        parents = [block for block in blocks if block.meta["__children_ids"]]
        leaves = [block for block in blocks if not block.meta["__children_ids"]]
        embedded = embedder.run(leaves)["documents"]
        ContextualDocumentWriter(store).run([*parents, *embedded])
        rows = store.filter_documents()
        assert {row.id for row in rows} == {block.id for block in blocks}
        with_vector = [row for row in rows if row.embedding]
        assert is_right(with_vector, vectors, [leaf.content for leaf in leaves])
        assert "".join(leaf.content for leaf in leaves) == text
    merged = AutoMergingRetriever(store).run(embedded[:2])["documents"]
    assert [document.content for document in merged] == ["The queen was well. She had "]


def test_sentence_window(store, vectors):
    assert "| `SentenceWindowRetriever` |" in PAGE
    (hit,) = [row for row in store.filter_documents() if row.content == PARTS[1]]
    found = SentenceWindowRetriever(store, window_size=1).run([hit])
    assert found["context_windows"] == ["".join(PARTS[:3])]
    assert is_right(found["context_documents"], vectors)


def test_multi_query(store, vectors, tiny):
    assert "| `MultiQueryEmbeddingRetriever` |" in PAGE
    retriever = MultiQueryEmbeddingRetriever(
        retriever=InMemoryEmbeddingRetriever(store, top_k=2, return_embedding=True),
        query_embedder=ContextualTextEmbedder(**tiny),
    )
    retriever.warm_up()
    found = retriever.run(["Who fell ill?", "Who rode out?"])["documents"]
    assert len(found) >= 2
    assert is_right(found, vectors)


def test_super_component(indexing, vectors):
    assert "| `SuperComponent` |" in PAGE
    store = InMemoryDocumentStore()
    component = SuperComponent(
        indexing(store), input_mapping={"documents": ["splitter.documents"]}
    )
    component.warm_up()
    component.run(documents=[Document(id="tale", content=TEXT)])
    assert is_right(store.filter_documents(), vectors)
    again = SuperComponent.from_dict(component.to_dict())
    assert again.to_dict() == component.to_dict()


class Sentences:
    """Splits at periods, as the splitter's own would."""

    def split_sentences(self, text):
        parts = [part + "." for part in text.split(".") if part]
        ends = [sum(map(len, parts[: n + 1])) for n in range(len(parts))]
        return [
            {"sentence": part, "start": end - len(part), "end": end}
            for part, end in zip(parts, ends, strict=True)
        ]


def test_a_splitter_that_embeds_sentences_of_its_own_is_told_once(tiny, caplog):
    texts = [f"{TEXT} It was the year {year}." for year in range(1801, 1804)]
    splitter = EmbeddingBasedDocumentSplitter(
        document_embedder=ContextualDocumentEmbedder(**tiny, progress_bar=False),
        sentences_per_group=1,
        min_length=1,
    )
    splitter.sentence_splitter = Sentences()  # its own needs a download
    with caplog.at_level(logging.WARNING, logger="haystack_integrations"):
        chunks = splitter.run([Document(content=text) for text in texts])["documents"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("None of ")
    assert all({"source_id", "split_id"} <= chunk.meta.keys() for chunk in chunks)


def test_what_has_not_changed_is_not_read_again(tiny, tmp_path):
    """The cache goes by content: another path, or another id, is no change."""
    embedder = ContextualDocumentEmbedder(**tiny, cache=str(tmp_path), progress_bar=False)
    splitter = DocumentSplitter(split_by="period", split_length=1)
    found = []
    for name in ("a", "b"):
        page = Document(id=name, content=TEXT, meta={"file_path": f"docs/{name}.md"})
        result = embedder.run(splitter.run([page])["documents"])
        found.append([document.embedding for document in result["documents"]])
    assert result["meta"]["usage"]["cached_documents"] == 1
    assert found[0] == found[1]
