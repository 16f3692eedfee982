"""A store that is built by its own class, with the vectors of a plan in it.

What is added to a store that exists is the business of `vector_store`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from langchain_core.vectorstores import VectorStore

from ctxembed import ConfigurationError
from langchain_ctxembed.chunk_ids import one_per_chunk, takes_any_id
from langchain_ctxembed.rollback import Rollback, leftover
from langchain_ctxembed.write_plan import WritePlan

Ids = list[str] | None
"""One id per text, or none at all: chunks keep their own then, and the others get new ones."""


def build_store(
    store_cls: type[VectorStore] | None, plan: WritePlan, ids: Ids, options: Mapping[str, Any]
) -> VectorStore:
    """Return a store of the class with the chunks of the plan in it.

    `options` go to `store_cls.from_texts`, whose errors go on with a note.

    Raises:
        ConfigurationError: no class was given, or the store did not ask for all vectors in order.
        EmbedError: chunks cannot be embedded, or ids are not one per chunk.
    """
    cls = _checked(store_cls)
    given, rollback = _options(cls, plan, ids, options)
    vectors = plan.embed()
    try:
        with vectors.active(probes=True):
            store = cls.from_texts(plan.texts, plan.embeddings, **given)
    except BaseException as error:
        error.add_note(rollback.note(deleted=False))
        raise
    if vectors.left:
        raise leftover(vectors, rollback, deleted=rollback.delete(store))
    return store


async def abuild_store(
    store_cls: type[VectorStore] | None, plan: WritePlan, ids: Ids, options: Mapping[str, Any]
) -> VectorStore:
    """Like `build_store`, without blocking the event loop."""
    cls = _checked(store_cls)
    given, rollback = _options(cls, plan, ids, options)
    vectors = await plan.aembed()
    try:
        with vectors.active(probes=True):
            store = await cls.afrom_texts(plan.texts, plan.embeddings, **given)
    except BaseException as error:
        error.add_note(rollback.note(deleted=False))
        raise
    if vectors.left:
        raise leftover(vectors, rollback, deleted=await rollback.adelete(store))
    return store


def _checked(store_cls: type[VectorStore] | None) -> type[VectorStore]:
    if store_cls is None:
        raise ConfigurationError(
            "which store is to be built? Hint: store_cls=Chroma, InMemoryVectorStore, ..."
        )
    return store_cls


def _options(
    cls: type[VectorStore], plan: WritePlan, ids: Ids, options: Mapping[str, Any]
) -> tuple[dict[str, Any], Rollback]:
    """Return the keywords of `from_texts`, and which rows are new.

    Every chunk gets an id, so that what is written can be found again and taken back. No ids are
    made up for a store whose builder does not take any: it might pass them on to something that
    does not either.
    """
    given: dict[str, Any] = {"metadatas": plan.metadatas}
    known = one_per_chunk(ids, len(plan.texts)) if ids else plan.ids
    rollback = Rollback(unknown=tuple(id_ for id_ in known if id_))
    if any(known) or takes_any_id(cls.from_texts, auto_id=options.get("auto_id", False)):
        filled = [id_ or str(uuid4()) for id_ in known]
        new = tuple(id_ for id_ in filled if id_ not in {*rollback.unknown})
        rollback = replace(rollback, new=new)
        given |= {"ids": filled} if filled else {}
    return given | {**options}, rollback
