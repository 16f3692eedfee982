"""Whatever the documents, their order and the slices: every stored row is that of its document."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from ctxembed import Embedder, Settings
from ctxembed.testing import FakeBackend
from langchain_ctxembed import (
    ContextRegistry,
    ContextualEmbeddings,
    ContextualVectorStore,
    context_key,
    stamp_context,
)

CORE = Embedder(FakeBackend(), Settings(normalize=True))
EMBEDDINGS = ContextualEmbeddings(model="minilm")
EMBEDDINGS._embedder._found[EMBEDDINGS.settings, None] = CORE

texts = st.sampled_from(["Terms apply.", "It grew.", "It ended.", "dummy_text", "a"])
documents = st.lists(st.lists(texts, min_size=1, max_size=6), max_size=6)


@given(
    documents, st.lists(texts, max_size=3), st.randoms(use_true_random=False), st.integers(1, 9)
)
def test_rows_are_those_of_their_documents(documents, alone, random, size):
    registry = ContextRegistry()
    chunks = [Document(page_content=text, metadata={"alone": n}) for n, text in enumerate(alone)]
    expected = {context_key(c): CORE.embed_documents([[c.page_content]])[0][0] for c in chunks}
    for number, document in enumerate(documents):
        made = [Document(page_content=text) for text in document]
        stamped = stamp_context(made, source_id=str(number), registry=registry)
        rows = CORE.embed_documents([document])[0]
        expected |= zip(map(context_key, stamped), rows, strict=True)
        chunks += stamped
    random.shuffle(chunks)
    wrapped = ContextualVectorStore(InMemoryVectorStore(EMBEDDINGS), registry=registry)
    for start in range(0, len(chunks), size):
        part = chunks[start : start + size]
        wrapped.add_documents(part, ids=[context_key(chunk) for chunk in part])
    stored = {id_: entry["vector"] for id_, entry in wrapped.store.store.items()}
    assert stored.keys() == expected.keys()
    assert all(np.allclose(stored[id_], expected[id_]) for id_ in stored)
