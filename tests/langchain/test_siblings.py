"""Stamped chunks: what comes back from stores and other processes, and what names a chunk."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from ctxembed import InputError
from langchain_ctxembed import (
    ContextRegistry,
    ContextualVectorStore,
    context_key,
    register_chunks,
    stamp_context,
)

LINES = ["The king fell ill.", "He sent for his sons.", "The king fell ill."]


@pytest.fixture
def chunks(registry):
    return stamp_context(
        [Document(page_content=text) for text in LINES], source_id="a", registry=registry
    )


@pytest.mark.parametrize(
    "number", [float, np.int64, np.float32, np.float64], ids=lambda kind: kind.__name__
)
def test_numbers_that_stores_give_back_are_whole_numbers(embeddings, chunks, held, number):
    back = [
        Document(
            page_content=chunk.page_content,
            metadata={
                key: number(value) if isinstance(value, int) else value
                for key, value in chunk.metadata.items()
            },
        )
        for chunk in chunks
    ]
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=ContextRegistry())
    assert len(wrapped.add_documents(back)) == 3
    (expected,) = embeddings.embed_contexts([LINES])
    assert np.allclose([vector for _, vector in held(wrapped.store)], expected, atol=0.02)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("context_index", 0.5, "its context_index is of type float, not a whole number"),
        ("context_size", float("nan"), "its context_size is of type float, not a whole number"),
        ("context_size", "3", "its context_size is of type str, not a whole number"),
        ("context_id", b"x", "its context_id is of type bytes, not text"),
    ],
)
def test_a_message_names_key_and_type(embeddings, chunks, key, value, message):
    chunks[1].metadata[key] = value
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings))
    with pytest.raises(InputError, match=rf"Chunk 1 \('a'\): {message}"):
        wrapped.add_documents(chunks)


def test_one_key_names_a_chunk(registry):
    def stamped(source_id):
        chunks = [Document(page_content=text) for text in LINES]
        return stamp_context(chunks, source_id=source_id, registry=registry)

    names = [chunk.metadata["chunk_id"] for chunk in stamped("a") + stamped("b")]
    assert len(set(names)) == 6
    assert [chunk.metadata["chunk_id"] for chunk in stamped("a")] == names[:3]


def test_the_key_of_an_index_does_not_depend_on_the_name_of_a_chunk(chunks):
    key = context_key(chunks[0])
    del chunks[0].metadata["chunk_id"]
    assert context_key(chunks[0]) == key


def test_embeddings_stand_for_their_fingerprint(embeddings, registry):
    def context(**options):
        (chunk,) = stamp_context(
            [Document(page_content="a")], source_id="a", registry=registry, **options
        )
        return chunk.metadata["context_id"]

    assert context(embeddings=embeddings) == context(fingerprint=embeddings.fingerprint)
    assert context(embeddings=embeddings) != context()


SPLIT = """
import pickle, sys
from langchain_core.documents import Document
from langchain_text_splitters import RecursiveCharacterTextSplitter
from langchain_ctxembed import ContextualTextSplitter
lines = RecursiveCharacterTextSplitter(["\\n"], chunk_size=1, chunk_overlap=0)
parents = [
    Document(
        page_content="\\n".join(f"Document {n}, line {i}." for i in range(30)),
        metadata={"source": str(n)},
    )
    for n in range(5)
]
sys.stdout.buffer.write(pickle.dumps(ContextualTextSplitter(lines).split_documents(parents)))
"""


@pytest.fixture(scope="module")
def from_elsewhere():
    """150 chunks that another process has split."""
    done = subprocess.run([sys.executable, "-c", SPLIT], stdout=subprocess.PIPE, check=True)
    return pickle.loads(done.stdout)


def test_chunks_of_another_process_are_registered_for_the_slices_of_an_index(
    embeddings, registry, from_elsewhere, held
):
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    records = InMemoryRecordManager("chunks")
    options = {
        "cleanup": "scoped_full",
        "source_id_key": "source_id",
        "key_encoder": context_key,
    }
    with pytest.raises(InputError, match="give register_chunks all chunks that"):
        index(from_elsewhere, records, wrapped, **options)
    registered = register_chunks(iter(from_elsewhere), registry=registry)
    assert registered == from_elsewhere
    assert index(registered, records, wrapped, **options)["num_added"] == 150
    found = {
        (meta["source"], meta["context_index"]): vector for meta, vector in held(wrapped.store)
    }
    texts = [[c.page_content for c in from_elsewhere[start : start + 30]] for start in (0, 120)]
    for source, rows in zip("04", embeddings.embed_contexts(texts), strict=True):
        own = [found[source, number] for number in range(30)]
        assert np.allclose(own, rows, atol=0.02)


def test_half_a_document_is_not_registered(registry, from_elsewhere):
    with pytest.raises(InputError, match=r"Chunk 30 \('1'\): the call has 29 of the 30 chunks"):
        register_chunks(from_elsewhere[:59], registry=registry)
    assert len(registry) == 0


def test_chunks_without_a_context_are_passed_on(registry):
    chunk = Document(page_content="a")
    assert register_chunks([chunk], registry=registry) == [chunk]
    assert len(registry) == 0
