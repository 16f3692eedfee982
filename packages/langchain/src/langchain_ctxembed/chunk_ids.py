"""The ids of the rows of a write: those given, and those made up so that rows can be taken back.

What becomes of the rows where a write fails is the business of `rollback`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from ctxembed import InputError


def with_ids(
    store: VectorStore, documents: Sequence[Document], options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str], set[str]]:
    """Return the options of a write with an id for every chunk, the ids, and those made up here.

    No id is made up where the caller gave ids, or where the store takes no strings for them.

    Raises:
        InputError: the caller gave more or fewer ids than there are chunks.
    """
    if options.get("ids"):
        named = one_per_chunk(options["ids"], len(documents))
        return {**options, "ids": named}, [id_ for id_ in named if id_], set()
    given = [document.id for document in documents]
    own = type(store).add_documents is not VectorStore.add_documents
    method = store.add_documents if own else store.add_texts
    if all(given) or not takes_any_id(method, auto_id=getattr(store, "auto_id", False)):
        return {**options}, [id_ for id_ in given if id_], set()
    filled = [id_ or str(uuid4()) for id_ in given]
    return {**options, "ids": filled}, filled, set(filled).difference(given)


def one_per_chunk(ids: Iterable[str], chunks: int) -> list[str]:
    """Return the ids that a caller gave.

    Raises:
        InputError: there are more or fewer than chunks.
    """
    given = [*ids]
    if len(given) != chunks:
        raise InputError(f"got {len(given)} ids for {chunks} chunks. Hint: one for each.")
    return given


def takes_any_id(method: Callable[..., object], *, auto_id: bool) -> bool:
    """Tell whether a store's method takes any string for an id.

    Some stores take numbers, also as arrays or as strings of digits, and some (with `auto_id`) make
    up all ids in a way of their own.
    """
    parameter = signature(method).parameters.get("ids")
    if parameter is None or auto_id:
        return False
    declared = str(parameter.annotation)
    return parameter.annotation is parameter.empty or (
        "str" in declared and "ndarray" not in declared
    )
