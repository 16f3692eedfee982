"""`WritePlan`: which documents are embedded for a write, and which rows are there already.

The plan is made, and its documents are embedded, before a store is touched. How a store gets the
vectors is the business of `precomputed_vectors`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from ctxembed import Array, ConfigurationError, EmbedError, sibling_fingerprint
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.lru_cache import LruCache
from langchain_ctxembed.metadata import CONTEXT_ID
from langchain_ctxembed.precomputed_vectors import PrecomputedVectors
from langchain_ctxembed.sibling_registry import ContextRegistry
from langchain_ctxembed.siblings import Ungrouped, group_siblings, source_name


class WritePlan:
    """The chunks of one call, and the documents whose rows they need.

    `row_cache` has rows of documents whose chunks come in several calls. The rows of a document of
    which this call holds only a part are added to it: more of its chunks will come.

    Raises:
        InputError: the siblings of a chunk are not known.
    """

    def __init__(
        self,
        chunks: Sequence[Document],
        embeddings: ContextualEmbeddings,
        registry: ContextRegistry,
        ungrouped: Ungrouped,
        row_cache: LruCache[Array] | None = None,
    ) -> None:
        self._chunks = chunks
        self.texts = [chunk.page_content for chunk in chunks]
        self.ids = [chunk.id for chunk in chunks]
        metadatas = [chunk.metadata for chunk in chunks]
        self.metadatas = metadatas if any(metadatas) else None
        self.without_context = sum(CONTEXT_ID not in chunk.metadata for chunk in chunks)
        """How many chunks are embedded alone because nothing says what their siblings are."""
        self.embeddings = embeddings
        self._siblings = group_siblings(chunks, registry, ungrouped)
        self._row_cache = LruCache(0) if row_cache is None else row_cache
        documents = self._siblings.documents
        self._cache_keys = {n: sibling_fingerprint(documents[n]) for n in self._siblings.partial}
        cached = {number: self._row_cache.get(key) for number, key in self._cache_keys.items()}
        self._rows = {number: rows for number, rows in cached.items() if rows is not None}
        self._missing = [n for n in range(len(documents)) if n not in self._rows]
        self._to_embed = [documents[number] for number in self._missing]

    def embed(self) -> PrecomputedVectors:
        """Embed the documents whose rows are missing, and return the vectors of the chunks.

        Raises:
            EmbedError: `document` counts the chunks of the call, and `key` is the source. It is
                None for a sibling that is not in the call, whose place among the siblings is
                `chunk`.
        """
        with self._located():
            arrays = self.embeddings.embedder.embed_documents(
                self._to_embed, progress=self._shows_progress
            )
        return self._vectors(arrays)

    async def aembed(self) -> PrecomputedVectors:
        """Like `embed`, without blocking the event loop."""
        embedder = await self.embeddings.aembedder()
        with self._located():
            arrays = await embedder.aembed_documents(self._to_embed, progress=self._shows_progress)
        return self._vectors(arrays)

    @property
    def _shows_progress(self) -> bool:
        return self.embeddings.show_progress and bool(self._to_embed)

    @contextmanager
    def _located(self) -> Iterator[None]:
        """Raise the errors of the embedder with the number of the chunk in this call."""
        try:
            yield
        except EmbedError as error:
            raise self._moved(error) from error.__cause__

    def _moved(self, error: EmbedError) -> EmbedError:
        """Return an error about a document, or a range of them, where the call has its chunk."""
        if error.document is None:
            return error
        document = self._missing[error.document]
        first, key = self._first_chunk(document)
        if error.last_document is not None:
            last, last_key = self._first_chunk(self._missing[error.last_document])
            moved = error.at(document=first, key=key, last_document=last, noun="Chunk")
            moved.add_note(f"Their sources are {key!r} to {last_key!r}.")
            return moved
        place = (document, error.chunk or 0)
        if place not in self._siblings.positions:  # a sibling that is not in the call
            return error.at(document=None, key=key)
        return error.at(document=self._siblings.positions.index(place), key=key, noun="Chunk")

    def _first_chunk(self, document: int) -> tuple[int, str | None]:
        """Return the number and the source of a document's first chunk in the call."""
        first = [number for number, _ in self._siblings.positions].index(document)
        return first, source_name(self._chunks[first])

    def _vectors(self, arrays: Sequence[Array]) -> PrecomputedVectors:
        self._rows |= zip(self._missing, arrays, strict=True)
        for number, key in self._cache_keys.items():
            self._row_cache.put(key, self._rows[number], self._rows[number].nbytes)
        rows = [self._rows[number][index] for number, index in self._siblings.positions]
        return PrecomputedVectors(self.texts, rows, self.embeddings.settings)


def check_embeddings(embeddings: object, subject: str) -> ContextualEmbeddings:
    """Return the embeddings if they can answer a store with precomputed vectors.

    Raises:
        ConfigurationError: they are not `ContextualEmbeddings`; `subject` begins its message.
    """
    if isinstance(embeddings, ContextualEmbeddings):
        return embeddings
    raise ConfigurationError(
        f"{subject} {type(embeddings).__name__} where ContextualEmbeddings belong. Hint: build the "
        "store on them, and with no cache around: it would take equal texts for equal vectors."
    )


def check_store(store: object) -> None:
    """Refuse what is no store.

    Raises:
        ConfigurationError: names the type, and shows how a store is wrapped.
    """
    if not isinstance(store, VectorStore):
        raise ConfigurationError(
            f"store is a vector store of LangChain, got an object of {type(store).__name__}. Hint: "
            "ContextualVectorStore(InMemoryVectorStore(embeddings))."
        )
