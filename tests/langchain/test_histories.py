"""Documents change between runs of `index()`: no row is stale, and none is missing."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ctxembed import Embedder, InputError, Settings
from ctxembed.testing import FakeBackend
from langchain_ctxembed import (
    ContextRegistry,
    ContextualEmbeddings,
    ContextualTextSplitter,
    ContextualVectorStore,
    context_key,
)

CORE = Embedder(FakeBackend(), Settings(normalize=True))
LINES = RecursiveCharacterTextSplitter(
    separators=["\n"], keep_separator=False, chunk_size=1, chunk_overlap=0
)
SOURCES = ["a", "b", "c"]

lines = st.lists(
    st.sampled_from(["Terms apply.", "It grew.", "It ended.", "x"]), min_size=1, max_size=7
)
corpora = st.dictionaries(st.sampled_from(SOURCES), st.lists(lines, min_size=1, max_size=2))
runs = st.tuples(
    corpora,
    st.integers(1, 12),  # chunks in a batch
    st.sampled_from(["works", "fails", "forgets"]),
    st.booleans(),  # async
)


class Failing(InMemoryVectorStore):
    """Fails in one of its writes, after having written half of it."""

    writes_left = -1

    def add_documents(self, documents, ids=None, **kwargs):
        self.writes_left -= 1
        if self.writes_left == 0:
            half = len(documents) // 2
            super().add_documents(documents[:half], ids[:half])
            raise OSError("disk full")
        return super().add_documents(documents, ids, **kwargs)

    async def aadd_documents(self, documents, ids=None, **kwargs):
        return self.add_documents(documents, ids, **kwargs)


def pages(corpus):
    return [
        Document(page_content="\n".join(page), metadata={"source": source, "page": number})
        for source, found in corpus.items()
        for number, page in enumerate(found)
    ]


def truth(corpus):
    """Every chunk's page and text, and its row among all chunks of its file."""
    rows = []
    for source, found in corpus.items():
        vectors = CORE.embed_documents([[line for page in found for line in page]])[0]
        places = [(source, n, line) for n, page in enumerate(found) for line in page]
        rows += [(*place, index) for index, place in enumerate(places)]
        yield from zip(rows[-len(places) :], vectors, strict=True)


class Indexed:
    """A store that is filled by `index()` alone."""

    def __init__(self, cleanup):
        self._options = {
            "cleanup": cleanup,
            "source_id_key": "source_id",
            "key_encoder": context_key,
        }
        embeddings = ContextualEmbeddings(model="minilm")
        embeddings._embedder._found[embeddings.settings, None] = CORE
        self._registry = ContextRegistry()
        self.store = Failing(embeddings)
        self._wrapped = ContextualVectorStore(self.store, registry=self._registry)
        self._splitter = ContextualTextSplitter(
            LINES, embeddings=embeddings, context_by="source", registry=self._registry
        )
        self._records = InMemoryRecordManager("chunks")
        self._records.create_schema()

    def run(self, corpus, event, batch_size, *, aio):
        chunks = self._splitter.split_documents(pages(corpus))
        if event == "forgets":
            self._registry.max_bytes = 0
            self._registry.register("x", [])
            self._registry.max_bytes = 2**20
        if event == "fails":
            self.store.writes_left = 2
        given = chunks, self._records, self._wrapped
        try:
            if aio:
                asyncio.run(aindex(*given, **self._options, batch_size=batch_size))
            else:
                index(*given, **self._options, batch_size=batch_size)
        finally:
            self.store.writes_left = -1

    def rows(self):
        rows = [
            ((m["source"], m["page"], entry["text"], m["context_index"]), entry["vector"])
            for entry in self.store.store.values()
            for m in [entry["metadata"]]
        ]
        assert len(dict(rows)) == len(rows)
        return dict(rows)


@pytest.mark.parametrize("cleanup", ["full", "scoped_full", "incremental"])
@settings(max_examples=40)
@given(history=st.lists(runs, min_size=1, max_size=5))
def test_the_store_holds_the_last_version_of_every_document(cleanup, history):
    indexed = Indexed(cleanup)
    current = {}
    for corpus, batch_size, event, aio in history:
        current = corpus if cleanup == "full" else current | corpus
        try:
            indexed.run(corpus, event, batch_size, aio=aio)
        except (OSError, InputError):
            indexed.run(corpus, "works", batch_size, aio=aio)
        stored, expected = indexed.rows(), dict(truth(current))
        assert stored.keys() == expected.keys()
        assert all(np.allclose(stored[place], expected[place]) for place in stored)
