"""`ContextualVectorStore`: any vector store, filled with vectors that were computed per document.

A store shows an embedder texts and nothing else. Here the chunks still have their metadata: their
documents are embedded whole (`write_plan`), and the store is handed their vectors
(`precomputed_vectors`). Searching and deleting is left to the store.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from ctxembed import Array, ConfigurationError
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.lru_cache import LruCache
from langchain_ctxembed.metadata import Metadatas, chunks_of
from langchain_ctxembed.precomputed_vectors import PrecomputedVectors
from langchain_ctxembed.rollback import (
    Rollback,
    arollback_of,
    finished,
    rollback_of,
    takes_any_id,
    with_ids,
)
from langchain_ctxembed.sibling_registry import REGISTRY, ContextRegistry
from langchain_ctxembed.siblings import Ungrouped
from langchain_ctxembed.trace_metadata import trace_metadata
from langchain_ctxembed.write_plan import WritePlan, check_embeddings

ROW_CACHE_BYTES = 64 * 2**20
"""Bytes of rows that a store keeps of documents whose chunks come in several calls."""

Ids = list[str] | None
"""One id per text, or none at all; the store makes them up then."""

_WRITERS = re.compile(r"a?(add|update|upsert)(_\w+)?")
_OWN_VECTORS = ("add_embeddings", "aadd_embeddings")


class _Forwarded:
    """A method of `VectorStore` that is the inner store's."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: "ContextualVectorStore | None", owner: type) -> Any:  # noqa: ANN401
        return self if instance is None else getattr(instance.store, self._name)


class ContextualVectorStore(VectorStore):
    """Wraps a store built on `ContextualEmbeddings`: what is added gets contextual vectors.

    Chunks have their context in the metadata, where `ContextualTextSplitter` or `stamp_context` put
    it. Searches, `delete` and `get_by_ids` are the inner store's, and so are its other public
    methods. Those that add or update texts are left out, because they would embed without context;
    they are methods of `.store`.

    Args:
        store: The inner store; it is also the attribute `.store`.
        embeddings: What the store was built on; needed only where the store does not tell.
        ungrouped: Chunks without a context are embedded alone ("independent") or an "error".
        registry: Where splitters registered siblings.

    Raises:
        ConfigurationError: the store embeds with something else, for instance a cache.
    """

    def __init__(
        self,
        store: VectorStore,
        embeddings: ContextualEmbeddings | None = None,
        *,
        ungrouped: Ungrouped = "independent",
        registry: ContextRegistry = REGISTRY,
    ) -> None:
        inner = embeddings if store.embeddings is None else store.embeddings
        self._embeddings = check_embeddings(inner, f"{type(store).__name__} embeds with")
        own = self._embeddings.settings.without_cache()
        if embeddings is not None and embeddings.settings.without_cache() != own:
            raise ConfigurationError(
                "store and wrapper embed with different settings. Hint: share one object."
            )
        self.store = store
        self._ungrouped = ungrouped
        self._registry = registry
        self._row_cache = LruCache[Array](ROW_CACHE_BYTES, keep_newest=True)

    @property
    def embeddings(self) -> ContextualEmbeddings:
        """What the store was built on."""
        return self._embeddings

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add chunks, each with the vector that it has among its siblings; return their ids.

        Raises:
            EmbedError: siblings are not known, or chunks cannot be embedded. Its `key` is the
                source, and the inner store was not touched.
            ConfigurationError: the store asked for the vectors in another order, or not for all.

        What the store raises goes on, once the rows that are new have been deleted again. A note on
        it says which rows may be half written. Rows that were there before are never deleted.
        """
        plan = WritePlan(
            documents, self._embeddings, self._registry, self._ungrouped, self._row_cache
        )
        vectors = plan.embed()
        options, ids, made_up = with_ids(self.store, documents, kwargs)
        rollback = rollback_of(self.store, ids, made_up)
        try:
            with vectors.active():
                written = self.store.add_documents(documents, **options)
        except BaseException as error:
            error.add_note(rollback.note(deleted=rollback.delete(self.store)))
            raise
        if vectors.left:
            rollback = rollback.with_rows_of(written)
            raise _leftover(vectors, rollback, deleted=rollback.delete(self.store))
        return written

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Like `add_documents`, without blocking the event loop."""
        plan = WritePlan(
            documents, self._embeddings, self._registry, self._ungrouped, self._row_cache
        )
        vectors = await plan.aembed()
        options, ids, made_up = with_ids(self.store, documents, kwargs)
        rollback = await arollback_of(self.store, ids, made_up)
        try:
            with vectors.active():
                write = self.store.aadd_documents(documents, **options)
                written = await finished(self.store, write)
        except BaseException as error:
            error.add_note(rollback.note(deleted=await rollback.adelete(self.store)))
            raise
        if vectors.left:
            rollback = rollback.with_rows_of(written)
            raise _leftover(vectors, rollback, deleted=await rollback.adelete(self.store))
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
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: Metadatas = None,
        *,
        ids: Ids = None,
        store_cls: type[VectorStore] | None = None,
        ungrouped: Ungrouped = "independent",
        registry: ContextRegistry = REGISTRY,
        **kwargs: Any,
    ) -> Self:
        """Build a `store_cls` with these chunks in it, and return it wrapped.

        `from_documents` takes the same keywords. Those not named here go to `store_cls.from_texts`.
        """
        embeddings = check_embeddings(embedding, "got")
        build, options, rollback = _build_options(
            texts, metadatas, ids=ids, store_cls=store_cls, **kwargs
        )
        plan = WritePlan(chunks_of(texts, metadatas), embeddings, registry, ungrouped)
        vectors = plan.embed()
        try:
            with vectors.active(probes=True):
                store = build.from_texts(texts, embeddings, **options)
        except BaseException as error:
            error.add_note(rollback.note(deleted=False))
            raise
        if vectors.left:
            raise _leftover(vectors, rollback, deleted=rollback.delete(store))
        return cls(store, embeddings, ungrouped=ungrouped, registry=registry)

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: Metadatas = None,
        *,
        ungrouped: Ungrouped = "independent",
        registry: ContextRegistry = REGISTRY,
        **kwargs: Any,
    ) -> Self:
        """Like `from_texts`, with the same keywords, without blocking the event loop."""
        embeddings = check_embeddings(embedding, "got")
        build, options, rollback = _build_options(texts, metadatas, **kwargs)
        plan = WritePlan(chunks_of(texts, metadatas), embeddings, registry, ungrouped)
        vectors = await plan.aembed()
        try:
            with vectors.active(probes=True):
                store = await build.afrom_texts(texts, embeddings, **options)
        except BaseException as error:
            error.add_note(rollback.note(deleted=False))
            raise
        if vectors.left:
            raise _leftover(vectors, rollback, deleted=await rollback.adelete(store))
        return cls(store, embeddings, ungrouped=ungrouped, registry=registry)

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Return a retriever, in whose traces the inner store and the model have their names."""
        shown = trace_metadata(self.store, self._embeddings) | (kwargs.pop("metadata", None) or {})
        return super().as_retriever(metadata=shown, **kwargs)

    delete = _Forwarded()
    adelete = _Forwarded()
    get_by_ids = _Forwarded()
    aget_by_ids = _Forwarded()
    search = _Forwarded()
    asearch = _Forwarded()
    similarity_search = _Forwarded()
    asimilarity_search = _Forwarded()
    similarity_search_by_vector = _Forwarded()
    asimilarity_search_by_vector = _Forwarded()
    similarity_search_with_score = _Forwarded()
    asimilarity_search_with_score = _Forwarded()
    similarity_search_with_relevance_scores = _Forwarded()
    asimilarity_search_with_relevance_scores = _Forwarded()
    max_marginal_relevance_search = _Forwarded()
    amax_marginal_relevance_search = _Forwarded()
    max_marginal_relevance_search_by_vector = _Forwarded()
    amax_marginal_relevance_search_by_vector = _Forwarded()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Return what only the inner store has, unless it would embed without context."""
        if name.startswith("_") or name == "store":
            raise AttributeError(name)
        if name not in _OWN_VECTORS and _WRITERS.fullmatch(name):
            raise AttributeError(
                f"{name} would embed without context. Hint: add_documents, or .store.{name}"
            )
        return getattr(self.store, name)


def _leftover(
    vectors: PrecomputedVectors, rollback: Rollback, *, deleted: bool
) -> ConfigurationError:
    """Return the error for a write that ended before all vectors were taken."""
    error = vectors.leftover(deleted=deleted)
    error.add_note(rollback.note(deleted=deleted))
    return error


def _build_options(
    texts: list[str],
    metadatas: Metadatas,
    *,
    ids: Ids = None,
    store_cls: type[VectorStore] | None = None,
    **options: Any,
) -> tuple[type[VectorStore], dict[str, Any], Rollback]:
    """Return the class of a store to build, the keywords of its `from_texts`, and what is new.

    Every chunk gets an id, so that what is written can be found again and taken back. No ids are
    made up for a store whose builder does not take any: it might pass them on to something that
    does not either.
    """
    if store_cls is None:
        raise ConfigurationError(
            "which store is to be built? Hint: store_cls=Chroma, InMemoryVectorStore, ..."
        )
    rollback = Rollback(unknown=tuple(id_ for id_ in ids or () if id_))
    if ids or takes_any_id(store_cls.from_texts, auto_id=options.get("auto_id", False)):
        given = {*rollback.unknown}
        ids = [id_ or str(uuid4()) for id_ in ids or [""] * len(texts)]
        rollback = replace(rollback, new=tuple(id_ for id_ in ids if id_ not in given))
    return store_cls, {"metadatas": metadatas} | _named(ids) | options, rollback


def _named(ids: Ids) -> dict[str, list[str]]:
    return {"ids": ids} if ids else {}
