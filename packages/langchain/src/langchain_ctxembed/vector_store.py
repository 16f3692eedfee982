"""`ContextualVectorStore`: any vector store, filled with vectors that were computed per document.

A store shows an embedder texts and nothing else. Here the chunks still have their metadata: their
documents are embedded whole (`write_plan`), and the store is handed their vectors
(`precomputed_vectors`). Searching and deleting is left to the store.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import RecordManager
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from ctxembed import Array, ConfigurationError
from langchain_ctxembed.chunk_ids import with_ids
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.inner_searches import SearchesInner
from langchain_ctxembed.lru_cache import LruCache
from langchain_ctxembed.metadata import Metadatas, chunks_of
from langchain_ctxembed.rollback import arollback_of, finished, leftover, rollback_of
from langchain_ctxembed.sibling_registry import REGISTRY, ContextRegistry
from langchain_ctxembed.siblings import Ungrouped
from langchain_ctxembed.store_building import Ids, abuild_store, build_store
from langchain_ctxembed.trace_metadata import trace_metadata
from langchain_ctxembed.whole_documents import (
    StoreSplitter,
    asplit_whole,
    split_whole,
    splitter_for,
)
from langchain_ctxembed.write_plan import WritePlan, check_embeddings, check_store

logger = logging.getLogger(__name__)

ROW_CACHE_BYTES = 64 * 2**20
"""Bytes of rows that a store keeps of documents whose chunks come in several calls."""

_WRITERS = re.compile(r"a?(add|update|upsert)(_\w+)?")
_OWN_VECTORS = ("add_embeddings", "aadd_embeddings")


class ContextualVectorStore(SearchesInner):
    """Wraps a store built on `ContextualEmbeddings`: what is added gets contextual vectors.

    Chunks have their context in the metadata, where `ContextualTextSplitter` or `stamp_context` put
    it. Searches, `delete` and `get_by_ids` are the inner store's, and so are its other public
    methods. Those that add or update texts are left out, because they would embed without context;
    they are methods of `.store`.

    Args:
        store: The inner store; it is also the attribute `.store`.
        embeddings: What the store was built on; needed only where the store does not tell.
        ungrouped: Chunks without a context are embedded alone ("independent") or an "error". The
            first time that there are any, a warning says so.
        splitter: What splits documents without a context when they are added: any splitter, or
            "auto" for the default of `ContextualTextSplitter`. Each is a context of its own.
        registry: Where splitters registered siblings.

    Raises:
        ConfigurationError: the store embeds with something else, for instance a cache, or is no
            store, or is wrapped already; the splitter cannot split.
    """

    def __init__(
        self,
        store: VectorStore,
        embeddings: ContextualEmbeddings | None = None,
        *,
        ungrouped: Ungrouped = "independent",
        splitter: StoreSplitter = None,
        registry: ContextRegistry = REGISTRY,
    ) -> None:
        if isinstance(store, ContextualVectorStore):
            raise ConfigurationError("the store is wrapped already. Hint: use it as it is.")
        check_store(store)
        inner = embeddings if store.embeddings is None else store.embeddings
        self._embeddings = check_embeddings(inner, f"{type(store).__name__} embeds with")
        own = self._embeddings.settings.without_cache()
        if embeddings is not None and embeddings.settings.without_cache() != own:
            raise ConfigurationError(
                "store and wrapper embed with different settings. Hint: share one object."
            )
        self.store = store
        self._ungrouped = ungrouped
        self._splitter = splitter_for(splitter, self._embeddings, registry)
        self._registry = registry
        self._warned = False
        self._row_cache = LruCache[Array](ROW_CACHE_BYTES, keep_newest=True)

    @property
    def embeddings(self) -> ContextualEmbeddings:
        """What the store was built on."""
        return self._embeddings

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add chunks, each with the vector that it has among its siblings; return their ids.

        With a splitter, documents without a context are split, and added behind the chunks.

        Raises:
            EmbedError: siblings are not known, or chunks cannot be embedded. Its `key` is the
                source, and the inner store was not touched.
            ConfigurationError: the store asked for the vectors in another order, or not for all.

        What the store raises goes on, once the rows that are new have been deleted again. A note on
        it says which rows may be half written. Rows that were there before are never deleted.
        """
        chunks = split_whole(self._splitter, documents, kwargs.get("ids"))
        options, ids, made_up = with_ids(self.store, chunks, kwargs)
        vectors = self._plan(chunks).embed()
        rollback = rollback_of(self.store, ids, made_up)
        try:
            with vectors.active():
                written = self.store.add_documents(chunks, **options)
        except BaseException as error:
            error.add_note(rollback.note(deleted=rollback.delete(self.store)))
            raise
        if vectors.left:
            rollback = rollback.with_rows_of(written)
            raise leftover(vectors, rollback, deleted=rollback.delete(self.store))
        return written

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Like `add_documents`, without blocking the event loop."""
        chunks = await asplit_whole(self._splitter, documents, kwargs.get("ids"))
        options, ids, made_up = with_ids(self.store, chunks, kwargs)
        vectors = await self._plan(chunks).aembed()
        rollback = await arollback_of(self.store, ids, made_up)
        try:
            with vectors.active():
                write = self.store.aadd_documents(chunks, **options)
                written = await finished(self.store, write)
        except BaseException as error:
            error.add_note(rollback.note(deleted=await rollback.adelete(self.store)))
            raise
        if vectors.left:
            rollback = rollback.with_rows_of(written)
            raise leftover(vectors, rollback, deleted=await rollback.adelete(self.store))
        return written

    def add_texts(
        self, texts: Iterable[str], metadatas: Metadatas = None, *, ids: Ids = None, **kwargs: Any
    ) -> list[str]:
        """Like `add_documents`, for texts and their metadata."""
        return self.add_documents(chunks_of(texts, metadatas), **_named(ids), **kwargs)

    async def aadd_texts(
        self, texts: Iterable[str], metadatas: Metadatas = None, *, ids: Ids = None, **kwargs: Any
    ) -> list[str]:
        """Like `add_texts`, without blocking the event loop."""
        return await self.aadd_documents(chunks_of(texts, metadatas), **_named(ids), **kwargs)

    @classmethod
    def from_documents(
        cls,
        documents: list[Document],
        embedding: Embeddings,
        *,
        ids: Ids = None,
        store_cls: type[VectorStore] | None = None,
        ungrouped: Ungrouped = "independent",
        splitter: StoreSplitter = None,
        registry: ContextRegistry = REGISTRY,
        **kwargs: Any,
    ) -> Self:
        """Build a `store_cls` with these documents in it, and return it wrapped.

        Without `ids`, chunks keep their own. Keywords not named here go to `store_cls.from_texts`.
        """
        embeddings = check_embeddings(embedding, "got")
        own = splitter_for(splitter, embeddings, registry)
        chunks = split_whole(own, documents, ids)
        plan = WritePlan(chunks, embeddings, registry, ungrouped)
        store = build_store(store_cls, plan, ids, kwargs)
        built = cls(store, embeddings, ungrouped=ungrouped, splitter=own, registry=registry)
        built._tell(plan)
        return built

    @classmethod
    async def afrom_documents(
        cls,
        documents: list[Document],
        embedding: Embeddings,
        *,
        ids: Ids = None,
        store_cls: type[VectorStore] | None = None,
        ungrouped: Ungrouped = "independent",
        splitter: StoreSplitter = None,
        registry: ContextRegistry = REGISTRY,
        **kwargs: Any,
    ) -> Self:
        """Like `from_documents`, with the same keywords, without blocking the event loop."""
        embeddings = check_embeddings(embedding, "got")
        own = splitter_for(splitter, embeddings, registry)
        chunks = await asplit_whole(own, documents, ids)
        plan = WritePlan(chunks, embeddings, registry, ungrouped)
        store = await abuild_store(store_cls, plan, ids, kwargs)
        built = cls(store, embeddings, ungrouped=ungrouped, splitter=own, registry=registry)
        built._tell(plan)
        return built

    @classmethod
    def from_texts(
        cls, texts: list[str], embedding: Embeddings, metadatas: Metadatas = None, **kwargs: Any
    ) -> Self:
        """Like `from_documents`, with the same keywords, for texts and their metadata."""
        return cls.from_documents(chunks_of(texts, metadatas), embedding, **kwargs)

    @classmethod
    async def afrom_texts(
        cls, texts: list[str], embedding: Embeddings, metadatas: Metadatas = None, **kwargs: Any
    ) -> Self:
        """Like `from_texts`, with the same keywords, without blocking the event loop."""
        return await cls.afrom_documents(chunks_of(texts, metadatas), embedding, **kwargs)

    def delete_source(self, source_id: str, records: RecordManager) -> int:
        """Delete the rows of a source that `index()` wrote, and their records.

        Return how many there were. `index()` cannot see that a document has no chunk any more.

        Raises:
            ConfigurationError: the store cannot delete; the records stay.
        """
        keys = records.list_keys(group_ids=[source_id])
        if keys and self.store.delete(keys) is False:
            raise _not_deleted(source_id)
        records.delete_keys(keys)
        return len(keys)

    async def adelete_source(self, source_id: str, records: RecordManager) -> int:
        """Like `delete_source`, without blocking the event loop."""
        keys = await records.alist_keys(group_ids=[source_id])
        if keys and await self.store.adelete(keys) is False:
            raise _not_deleted(source_id)
        await records.adelete_keys(keys)
        return len(keys)

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Return a retriever, in whose traces the inner store and the model have their names."""
        shown = trace_metadata(self.store, self._embeddings) | (kwargs.pop("metadata", None) or {})
        return super().as_retriever(metadata=shown, **kwargs)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return what only the inner store has, unless it would embed without context."""
        if name.startswith("_") or name == "store":
            raise AttributeError(f"{name} is not passed on, as it is private. Hint: .store.{name}")
        if name not in _OWN_VECTORS and _WRITERS.fullmatch(name):
            raise AttributeError(
                f"{name} would embed without context. Hint: add_documents, or .store.{name}"
            )
        return getattr(self.store, name)

    def _plan(self, chunks: list[Document]) -> WritePlan:
        plan = WritePlan(
            chunks, self._embeddings, self._registry, self._ungrouped, self._row_cache
        )
        self._tell(plan)
        return plan

    def _tell(self, plan: WritePlan) -> None:
        """Say once that chunks of a write are embedded alone, and what to do."""
        if plan.without_context and not self._warned:
            self._warned = True
            logger.warning(
                "%d of %d chunks came without a context and are embedded alone. Hint: split with "
                "ContextualTextSplitter, give stamp_context all chunks of a document, or give the "
                'wrapper splitter="auto"; ungrouped="error" refuses them. (Said once per store.)',
                *(plan.without_context, len(plan.texts)),
            )


def _not_deleted(source_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"the store did not delete the rows of {source_id!r}, and so their records stay. Hint: "
        "delete the rows in the store itself."
    )


def _named(ids: Ids) -> dict[str, list[str]]:
    return {"ids": ids} if ids else {}
