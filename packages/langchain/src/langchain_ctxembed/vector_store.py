"""`ContextualVectorStore`: any vector store, fed with vectors computed document by document.

A store shows an embedder texts and nothing else. Here the chunks still have their metadata: their
contexts are embedded whole and replayed into the store. Searching and deleting is its own business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from typing import Any, Self
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from ctxembed import ConfigurationError, InputError
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.pending_write import Call, Rows
from langchain_ctxembed.precomputed_vectors import Replay
from langchain_ctxembed.registry import REGISTRY, ContextRegistry
from langchain_ctxembed.siblings import Ungrouped

KEPT_BYTES = 64 * 2**20
"""Bytes of rows that a store keeps of documents whose chunks come in several calls."""

_WRITERS = re.compile(r"a?(add|update|upsert)(_\w+)?")
_OWN_VECTORS = ("add_embeddings", "aadd_embeddings")


class _Forwarded:
    """A method of `VectorStore` that is the inner store's."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: ContextualVectorStore | None, owner: type) -> Any:  # noqa: ANN401
        return self if instance is None else getattr(instance.store, self._name)


class ContextualVectorStore(VectorStore):
    """Wraps a store built on `ContextualEmbeddings`: what is added gets contextual vectors.

    Chunks have their context in the metadata, where `ContextualTextSplitter` or `stamp_context` put
    it. Searches, `delete` and `get_by_ids` are the inner store's, and so are its other public
    methods, apart from those that add or update texts: they would embed without context, and are
    at `.store` for whoever wants that.

    Args:
        store: The inner store; also there as `.store`.
        embeddings: What the store was built on; needed only where the store doesn't tell.
        ungrouped: Chunks without a context are embedded alone ("independent") or an "error".
        registry: Where splitters registered siblings.

    Raises:
        ConfigurationError: the store embeds with something else, a cache for instance.
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
        self._embeddings = _contextual(inner, f"{type(store).__name__} embeds with")
        if embeddings is not None and embeddings.settings != self._embeddings.settings:
            message = "store and wrapper embed with different settings. Hint: share one object."
            raise ConfigurationError(message)
        self.store = store
        self._ungrouped = ungrouped
        self._registry = registry
        self._kept = Rows(KEPT_BYTES)

    @property
    def embeddings(self) -> ContextualEmbeddings:
        """What the store was built on."""
        return self._embeddings

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Add chunks, each with the vector that it has among its siblings; return their ids.

        Raises:
            EmbedError: siblings aren't known, or chunks can't be embedded: its `.key` is the source,
                and the inner store wasn't touched.
            ConfigurationError: the store didn't ask for the vectors as they were due.
        """
        call = Call(documents, self._registry, self._ungrouped, self._kept)
        call.embed(self._embeddings.embedder)
        replay = call.replay(self._embeddings.settings)
        with replay.activate():
            ids = self.store.add_documents(documents, **kwargs)
        if replay.left:
            self._take_back(replay, _written(ids, documents, kwargs))
        return ids

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Like `add_documents`, without blocking the event loop."""
        call = Call(documents, self._registry, self._ungrouped, self._kept)
        await call.aembed(await self._embeddings.aembedder())
        replay = call.replay(self._embeddings.settings)
        with replay.activate():
            ids = await self.store.aadd_documents(documents, **kwargs)
        if replay.left:
            await self._atake_back(replay, _written(ids, documents, kwargs))
        return ids

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Like `add_documents`, of texts and their metadata."""
        given = kwargs if ids is None else kwargs | {"ids": ids}
        return self.add_documents(_documents(texts, metadatas), **given)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Like `add_texts`, without blocking the event loop."""
        given = kwargs if ids is None else kwargs | {"ids": ids}
        return await self.aadd_documents(_documents(texts, metadatas), **given)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        store_cls: type[VectorStore] | None = None,
        ungrouped: Ungrouped = "independent",
        registry: ContextRegistry = REGISTRY,
        **kwargs: Any,
    ) -> Self:
        """Build a `store_cls` with these chunks in it, and return it wrapped.

        `from_documents` takes the same keywords. Those not named here go to `store_cls.from_texts`.
        """
        embeddings, build = _contextual(embedding, "got"), _store_class(store_cls)
        call = Call(_documents(texts, metadatas), registry, ungrouped)
        call.embed(embeddings.embedder)
        replay = call.replay(embeddings.settings, probes=True)
        known = _ids(ids, len(texts), build.from_texts)
        with replay.activate():
            store = build.from_texts(
                texts, embeddings, metadatas=metadatas, **_named(known), **kwargs
            )
        wrapped = cls(store, embeddings, ungrouped=ungrouped, registry=registry)
        if replay.left:
            wrapped._take_back(replay, known)
        return wrapped

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        store_cls: type[VectorStore] | None = None,
        ungrouped: Ungrouped = "independent",
        registry: ContextRegistry = REGISTRY,
        **kwargs: Any,
    ) -> Self:
        """Like `from_texts`, without blocking the event loop."""
        embeddings, build = _contextual(embedding, "got"), _store_class(store_cls)
        call = Call(_documents(texts, metadatas), registry, ungrouped)
        await call.aembed(await embeddings.aembedder())
        replay = call.replay(embeddings.settings, probes=True)
        known = _ids(ids, len(texts), build.from_texts)
        with replay.activate():
            store = await build.afrom_texts(
                texts, embeddings, metadatas=metadatas, **_named(known), **kwargs
            )
        wrapped = cls(store, embeddings, ungrouped=ungrouped, registry=registry)
        if replay.left:
            await wrapped._atake_back(replay, known)
        return wrapped

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
            message = f"{name} would embed without context. Hint: add_documents, or .store.{name}"
            raise AttributeError(message)
        return getattr(self.store, name)

    def _take_back(self, replay: Replay, ids: list[str]) -> None:
        try:
            undone = bool(ids) and self.store.delete(ids) is not False
        except Exception as error:
            raise replay.leftover(undone=False) from error
        raise replay.leftover(undone=undone)

    async def _atake_back(self, replay: Replay, ids: list[str]) -> None:
        try:
            undone = bool(ids) and await self.store.adelete(ids) is not False
        except Exception as error:
            raise replay.leftover(undone=False) from error
        raise replay.leftover(undone=undone)


def _contextual(embeddings: object, subject: str) -> ContextualEmbeddings:
    """Return the embeddings if rows can be replayed through them."""
    if isinstance(embeddings, ContextualEmbeddings):
        return embeddings
    message = (
        f"{subject} {type(embeddings).__name__} where ContextualEmbeddings belong. Hint: build the "
        "store on them, and with no cache around: it would take equal texts for equal vectors."
    )
    raise ConfigurationError(message)


def _store_class(store_cls: type[VectorStore] | None) -> type[VectorStore]:
    if store_cls is None:
        message = "which store is to be built? Hint: store_cls=Chroma, InMemoryVectorStore, ..."
        raise ConfigurationError(message)
    return store_cls


def _documents(texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None) -> list[Document]:
    if isinstance(texts, str):
        raise InputError("got one string. Hint: a list of texts.")
    texts = list(texts)
    metadatas = metadatas or [{} for _ in texts]
    if len(metadatas) != len(texts):
        message = f"got {len(texts)} texts and {len(metadatas)} metadatas. Hint: one for each."
        raise InputError(message)
    return [
        Document(page_content=text, metadata=metadata)
        for text, metadata in zip(texts, metadatas, strict=True)
    ]


def _ids(ids: Sequence[str | None] | None, count: int, build: Callable[..., object]) -> list[str]:
    """Return an id for every chunk: what is written must be found again to be taken back.

    None are made up for a store whose builder doesn't name `ids`: it might hand them to no one who
    takes them.
    """
    if not ids and "ids" not in signature(build).parameters:
        return []
    return [id_ or str(uuid4()) for id_ in ids or [None] * count]


def _named(ids: list[str]) -> dict[str, list[str]]:
    return {"ids": ids} if ids else {}


def _written(ids: object, documents: list[Document], options: dict[str, Any]) -> list[str]:
    """Return the ids of a write: as the store told them, else the caller's if each chunk has one."""
    if isinstance(ids, list) and ids:
        return ids
    given = options.get("ids") or [document.id for document in documents]
    return given if all(given) else []
