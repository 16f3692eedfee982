"""`ContextualRetriever`: hits with the chunks before and after them, from the same store.

How a store is asked for them is the business of `neighbour_filter`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStoreRetriever
from pydantic import Field

from ctxembed import ConfigurationError
from langchain_ctxembed.metadata import CONTEXT_ID, CONTEXT_INDEX, CONTEXT_SIZE, SOURCE_ID
from langchain_ctxembed.neighbour_filter import is_neighbour, neighbour_filter
from langchain_ctxembed.vector_store import ContextualVectorStore

ContextFilter = Callable[[Mapping[str, str], int, int], dict[str, Any]]
"""From metadata that chunks share, and the first and last `context_index`, to search keywords."""

_START = "start_index"
"""Where splitters with `add_start_index=True` put a chunk's place in its document."""


@dataclass(slots=True, eq=False)
class _Passage:
    """Chunks `first` to `last` of a context; `hits` has those that were found, the best first."""

    same: dict[str, str]
    first: int
    last: int
    hits: list[Document]
    chunks: dict[int, Document] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many chunks it has, where the store has them all."""
        return self.last - self.first + 1

    def take(self, found: Sequence[Document], k: int) -> int:
        """Keep the neighbours among the `k` rows that a store was asked for, and the hits.

        Return how many to ask for next: more where rows of one place may have hidden another place,
        as in a document that was added twice; else 0.
        """
        if not all(is_neighbour(chunk, self.same, self.first, self.last) for chunk in found):
            raise ConfigurationError(
                "the store did not filter by metadata as it was asked to. Hint: give the retriever "
                "a context_filter, which returns the keywords of its search."
            )
        chunks = [*found, *self.hits]
        self.chunks = {int(chunk.metadata[CONTEXT_INDEX]): chunk for chunk in chunks}
        return 2 * k if len(found) >= k and len(self.chunks) < self.size else 0

    def document(self) -> Document:
        """Return the best hit, with the text of all chunks."""
        chunks = [self.chunks[index] for index in sorted(self.chunks)]
        text = chunks[0].page_content if chunks else self.hits[0].page_content
        for before, chunk in pairwise(chunks):
            text += _continuation(before, chunk)
        return self.hits[0].model_copy(update={"page_content": text})


class ContextualRetriever(VectorStoreRetriever):
    """Searches a `ContextualVectorStore`, and returns hits with their neighbours.

    A hit comes with up to `n` chunks before and after it, in one document that has the hit's id and
    metadata. Hits of a document whose neighbours meet are one, in the place of the best of them.
    Chunks are joined by a line break; with `start_index` in the metadata (splitters write it with
    `add_start_index=True`) as they were in their document, and what two of them share is there
    once. Hits without a context come as they are.

    `search_type` and `search_kwargs` are those of every retriever. `context_filter` says how the
    store filters by metadata. It is needed where the store takes no filter of the kind that Chroma,
    FAISS, PGVector and Pinecone take, and is none of Qdrant, Milvus and the one in memory.
    """

    vectorstore: ContextualVectorStore
    n: int = Field(default=1, ge=0)
    context_filter: ContextFilter | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        hits = super()._get_relevant_documents(query, run_manager=run_manager, **kwargs)
        vector = self.vectorstore.embeddings.embed_query(query)
        passages = _passages(hits, self.n)
        for passage in passages:
            k = passage.size if passage.same else 0
            while k:
                options = self._options(passage, k)
                found = self.vectorstore.similarity_search_by_vector(vector, **options)
                k = passage.take(found, k)
        return [passage.document() for passage in passages]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        hits = await super()._aget_relevant_documents(query, run_manager=run_manager, **kwargs)
        vector = await self.vectorstore.embeddings.aembed_query(query)
        passages = _passages(hits, self.n)
        for passage in passages:
            k = passage.size if passage.same else 0
            while k:
                options = self._options(passage, k)
                found = await self.vectorstore.asimilarity_search_by_vector(vector, **options)
                k = passage.take(found, k)
        return [passage.document() for passage in passages]

    def _options(self, passage: _Passage, k: int) -> dict[str, Any]:
        place = (passage.same, passage.first, passage.last)
        if self.context_filter is None:
            given = neighbour_filter(self.vectorstore.store, *place)
        else:
            given = self.context_filter(*place)
        return {"k": k} | given


def _passages(hits: Sequence[Document], n: int) -> list[_Passage]:
    """Return what hits become: one passage each, those that meet in one."""
    passages: list[_Passage] = []
    for hit in hits:
        if CONTEXT_ID not in hit.metadata:
            passages.append(_Passage({}, 0, 0, [hit]))
            continue
        same = {key: hit.metadata[key] for key in (CONTEXT_ID, SOURCE_ID) if key in hit.metadata}
        index, size = int(hit.metadata[CONTEXT_INDEX]), int(hit.metadata[CONTEXT_SIZE])
        new = _Passage(same, max(0, index - n), min(size - 1, index + n), [hit])
        meeting = [each for each in passages if _meet(each, new)]
        if not meeting:
            passages.append(new)
            continue
        best, *others = meeting
        for other in (*others, new):
            best.first = min(best.first, other.first)
            best.last = max(best.last, other.last)
            best.hits += other.hits
        passages = [each for each in passages if each not in others]
    return passages


def _meet(one: _Passage, other: _Passage) -> bool:
    if one.same != other.same:
        return False
    return one.first <= other.last + 1 and other.first <= one.last + 1


def _continuation(before: Document, chunk: Document) -> str:
    """Return what a chunk adds to the text of the one before it."""
    text = chunk.page_content
    start, start_before = chunk.metadata.get(_START), before.metadata.get(_START)
    if start is not None and start_before is not None and start > start_before:
        shared = int(start_before) + len(before.page_content) - int(start)
        if 0 <= shared <= len(text) and before.page_content.endswith(text[:shared]):
            return text[shared:]
    return f"\n{text}"
