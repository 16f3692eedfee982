"""A random checkpoint behind LangChain's interface, documents to split, and what rows must be."""

import logging

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ctxembed import Embedder, Settings
from ctxembed.testing import FakeBackend
from langchain_ctxembed import ContextRegistry, ContextualEmbeddings, ContextualTextSplitter

TOLERANCE = (
    0.02  # a code off by one moves a component by less; a sibling more or less by ten times
)


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.WARNING, "langchain_ctxembed")


@pytest.fixture(scope="session")
def embeddings(pplx_checkpoint):
    return ContextualEmbeddings(model=str(pplx_checkpoint))


@pytest.fixture
def registry():
    """One of its own for each test, so that nothing is known from another."""
    return ContextRegistry()


@pytest.fixture
def line_splitter(registry):
    """Chunks are lines: the text says what is expected."""
    return lambda **options: ContextualTextSplitter(
        RecursiveCharacterTextSplitter(
            separators=["\n"], keep_separator=False, chunk_size=1, chunk_overlap=0
        ),
        **({"registry": registry} | options),
    )


@pytest.fixture
def parents():
    """Three documents of 5 chunks with chunks in common and repeated, and one of 70."""
    return [
        page("a", "Alpha is first.", "Terms apply.", "It grew.", "Terms apply.", "It ended."),
        page("b", "Beta is second.", "Terms apply.", "It shrank.", "It paused.", "It ended."),
        page("long", *(f"Row {number} of the table." for number in range(70))),
        page("c", "Gamma is third.", "It grew.", "It grew.", "It grew.", "Terms apply."),
    ]


def page(source, *lines):
    return Document(page_content="\n".join(lines), metadata={"source": source})


class Truth:
    """The rows that chunks must have: their whole documents, through the core."""

    def __init__(self, embeddings):
        self._embedder = embeddings.embedder

    def of(self, parents):
        documents = [parent.page_content.split("\n") for parent in parents]
        arrays = self._embedder.embed_documents(documents)
        return {
            (parent.metadata["source"], index): row
            for parent, rows in zip(parents, arrays, strict=True)
            for index, row in enumerate(rows)
        }

    def check(self, parents, stored):
        """Compare what a store holds, as (metadata, vector) pairs, with the rows by value."""
        expected = self.of(parents)
        places = [(meta["source"], int(meta["context_index"])) for meta, _ in stored]
        assert sorted(places) == sorted(expected)
        for place, (_, vector) in zip(places, stored, strict=True):
            difference = np.abs(np.array(vector, np.float32) - expected[place]).max()
            assert difference < TOLERANCE, place


@pytest.fixture
def truth_of():
    return Truth


@pytest.fixture
def truth(embeddings):
    return Truth(embeddings)


@pytest.fixture
def memory(embeddings):
    return InMemoryVectorStore(embeddings)


def in_memory(store):
    """What an in-memory store holds, as (metadata, vector) pairs."""
    return [(entry["metadata"], entry["vector"]) for entry in store.store.values()]


@pytest.fixture
def held():
    return in_memory


@pytest.fixture
def fake():
    """Embeddings over a backend without a model, which counts its calls and fails on demand."""

    def make(backend=None, **settings):
        made = ContextualEmbeddings(**({"model": "minilm"} | settings))
        backend = backend or FakeBackend()
        made._embedder._found[made.settings, None] = Embedder(backend, Settings(normalize=True))
        return made, backend

    return make
