"""`WritePlan`: which documents are embedded for a write, and which rows are there already.

The plan is made, and its documents are embedded, before a store is touched. How a store gets the
vectors is the business of `precomputed_vectors`.
"""

from collections.abc import Sequence

from langchain_core.documents import Document

from ctxembed import Array, ConfigurationError, sibling_fingerprint
from ctxembed.lazy import located_errors
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.lru_cache import LruCache
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
        self._embeddings = embeddings
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
            EmbedError: `document` counts the chunks of the call, and `key` is the source.
        """
        with located_errors(self._locate, "chunk"):
            arrays = self._embeddings.embedder.embed_documents(
                self._to_embed, progress=self._shows_progress
            )
        return self._vectors(arrays)

    async def aembed(self) -> PrecomputedVectors:
        """Like `embed`, without blocking the event loop."""
        embedder = await self._embeddings.aembedder()
        with located_errors(self._locate, "chunk"):
            arrays = await embedder.aembed_documents(self._to_embed, progress=self._shows_progress)
        return self._vectors(arrays)

    @property
    def _shows_progress(self) -> bool:
        return self._embeddings.show_progress and bool(self._to_embed)

    def _locate(self, document: int) -> tuple[int, str | None]:
        """Return the number and the source of the first chunk of a document that was embedded."""
        documents = [number for number, _ in self._siblings.positions]
        first = documents.index(self._missing[document])
        return first, source_name(self._chunks[first])

    def _vectors(self, arrays: Sequence[Array]) -> PrecomputedVectors:
        self._rows |= zip(self._missing, arrays, strict=True)
        for number, key in self._cache_keys.items():
            self._row_cache.put(key, self._rows[number], self._rows[number].nbytes)
        rows = [self._rows[number][index] for number, index in self._siblings.positions]
        texts = [chunk.page_content for chunk in self._chunks]
        return PrecomputedVectors(texts, rows, self._embeddings.settings)


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
