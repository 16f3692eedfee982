"""`NewStore`: what is settled before a store is built with chunks in it, as `from_texts` does.

The chunks, their ids and the options of store and wrapper are taken apart here. Which documents are
embedded is decided in `write_plan`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import signature
from typing import Any
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from ctxembed import ConfigurationError, InputError
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.registry import REGISTRY, ContextRegistry
from langchain_ctxembed.siblings import Ungrouped
from langchain_ctxembed.write_plan import WritePlan, check_embeddings

Metadatas = list[dict[str, Any]] | None
"""One dictionary per text, or none at all."""

Ids = list[str] | None
"""One id per text, or none at all: the store makes them up."""


@dataclass(frozen=True, slots=True)
class NewStore:
    """A store that is about to be built with chunks in it, and the options of it and its wrapper."""

    store_cls: type[VectorStore]
    embeddings: ContextualEmbeddings
    plan: WritePlan
    ids: list[str]
    options: dict[str, Any]
    wrapper_options: dict[str, Any]


def plan_new_store(
    texts: list[str],
    embedding: Embeddings,
    metadatas: Metadatas,
    *,
    ids: Ids = None,
    store_cls: type[VectorStore] | None = None,
    ungrouped: Ungrouped = "independent",
    registry: ContextRegistry = REGISTRY,
    **options: Any,
) -> NewStore:
    """Return what `from_texts` needs before it builds a store.

    Raises:
        ConfigurationError: no `store_cls`, or other embeddings.
        InputError: the texts, or the siblings that their metadata names, are not all there.
    """
    embeddings = check_embeddings(embedding, "got")
    if store_cls is None:
        raise ConfigurationError(
            "which store is to be built? Hint: store_cls=Chroma, InMemoryVectorStore, ..."
        )
    plan = WritePlan(chunks_of(texts, metadatas), registry, ungrouped)
    ids = _ids(ids, len(texts), store_cls.from_texts)
    return NewStore(
        store_cls,
        embeddings,
        plan,
        ids,
        options={"metadatas": metadatas} | named(ids) | options,
        wrapper_options={"ungrouped": ungrouped, "registry": registry},
    )


def chunks_of(texts: Iterable[str], metadatas: Metadatas) -> list[Document]:
    """Return texts and their metadata as documents."""
    if isinstance(texts, str):
        raise InputError("got one string. Hint: a list of texts.")
    texts = list(texts)
    metadatas = metadatas or [{} for _ in texts]
    if len(metadatas) != len(texts):
        raise InputError(
            f"got {len(texts)} texts and {len(metadatas)} metadatas. Hint: one for each."
        )
    return [
        Document(page_content=text, metadata=metadata)
        for text, metadata in zip(texts, metadatas, strict=True)
    ]


def _ids(ids: Ids, count: int, build: Callable[..., object]) -> list[str]:
    """Return an id for every chunk, so that what is written can be found again and taken back.

    No ids are made up for a store whose builder does not name `ids`: it might pass them on to
    something that does not take them.
    """
    if not ids and "ids" not in signature(build).parameters:
        return []
    return [id_ or str(uuid4()) for id_ in ids or [""] * count]


def named(ids: Ids) -> dict[str, list[str]]:
    """Return ids as a keyword, which is left out where there are none."""
    return {"ids": ids} if ids else {}
