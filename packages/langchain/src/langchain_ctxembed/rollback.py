"""`Rollback`: which rows of a write are new, so that they can go again where the write fails.

A row is new where its id was not in the store before, or was made up for this write. Rows that were
there before are never deleted: they may be half written, and a note on the error says so.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from ctxembed import ConfigurationError
from langchain_ctxembed.precomputed_vectors import PrecomputedVectors

T = TypeVar("T")

_NAMES = 10
"""How many ids a note names."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """The ids of a write: rows that are `new`, rows that are `older`, and those `unknown`."""

    new: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def with_rows_of(self, written: object) -> "Rollback":
        """Return these ids and those that a store made up in the place of them.

        Where older rows are written too, such an id may be another spelling of theirs.
        """
        given = {*self.new, *self.older, *self.unknown}
        found = written if isinstance(written, list) else []
        made_up = [id_ for id_ in found if isinstance(id_, str) and id_ not in given]
        if self.older or self.unknown:
            return Rollback(self.new, self.older, (*self.unknown, *made_up))
        return Rollback((*self.new, *made_up))

    def delete(self, store: VectorStore) -> bool:
        """Delete the rows that are new, and tell whether there were any and they are gone."""
        try:
            return bool(self.new) and store.delete([*self.new]) is not False
        except Exception:  # noqa: BLE001 - the error of the write is the one to raise
            return False

    async def adelete(self, store: VectorStore) -> bool:
        """Like `delete`, without blocking the event loop."""
        try:
            return bool(self.new) and await store.adelete([*self.new]) is not False
        except Exception:  # noqa: BLE001 - the error of the write is the one to raise
            return False

    def note(self, *, deleted: bool) -> str:
        """Return what became of the rows of a write that failed."""
        told = ["The write to the store was not finished."]
        if self.new and deleted:
            told.append(f"What it wrote of {len(self.new)} new rows was deleted again.")
        elif self.new:
            told.append(
                "Its new rows could not be deleted: delete them by hand, those that are there of "
                f"{_listed(self.new)}."
            )
        if self.older:
            told.append(
                "Rows that were there before stay, and may be half written: "
                f"{_listed(self.older)}. Hint: write them again."
            )
        if self.unknown:
            told.append(
                "The store does not tell which rows were there before, so none was deleted; these "
                f"may be half written: {_listed(self.unknown)}. Hint: write them again."
            )
        if not (self.new or self.older or self.unknown):
            told.append("The chunks had no ids, so what it wrote cannot be found again.")
        return " ".join(told)


def rollback_of(store: VectorStore, ids: Sequence[str], made_up: set[str]) -> Rollback:
    """Return which of the ids are new to a store that is about to be written to."""
    given = [id_ for id_ in dict.fromkeys(ids) if id_ not in made_up]
    try:
        older = _older(store, given)
    except Exception:  # noqa: BLE001 - many stores cannot tell; the write goes on
        return Rollback((*made_up,), unknown=(*given,))
    return _rollback(given, made_up, older)


async def arollback_of(store: VectorStore, ids: Sequence[str], made_up: set[str]) -> Rollback:
    """Like `rollback_of`, without blocking the event loop."""
    given = [id_ for id_ in dict.fromkeys(ids) if id_ not in made_up]
    try:
        older = await _aolder(store, given)
    except Exception:  # noqa: BLE001 - many stores cannot tell; the write goes on
        return Rollback((*made_up,), unknown=(*given,))
    return _rollback(given, made_up, older)


def _rollback(given: Sequence[str], made_up: set[str], older: set[str]) -> Rollback:
    new = [id_ for id_ in given if id_ not in older]
    return Rollback((*new, *made_up), tuple(id_ for id_ in given if id_ in older))


def _older(store: VectorStore, ids: Sequence[str]) -> set[str]:
    """Return the ids that a store has rows for; one that does not name its rows is asked again."""
    told = _told(ids, store.get_by_ids(ids)) if ids else set[str]()
    if told is None:
        middle = len(ids) // 2
        return _older(store, ids[:middle]) | _older(store, ids[middle:])
    return told


async def _aolder(store: VectorStore, ids: Sequence[str]) -> set[str]:
    told = _told(ids, await store.aget_by_ids(ids)) if ids else set[str]()
    if told is None:
        middle = len(ids) // 2
        return await _aolder(store, ids[:middle]) | await _aolder(store, ids[middle:])
    return told


def _told(ids: Sequence[str], found: Sequence[Document]) -> set[str] | None:
    """Return which ids the rows have that a store found; None where that shows for fewer only.

    Qdrant returns rows without their ids, and a store may spell an id in a way of its own.
    """
    by_name = {str(row.id) for row in found} & {*ids}
    if len(by_name) == len(found):
        return by_name
    if len(found) == len(ids):
        return {*ids}
    return None if len(ids) > 1 else {*ids}


async def finished(store: VectorStore, write: Coroutine[Any, Any, T]) -> T:
    """Await a write. If it is cancelled, a store that writes in a thread is waited for.

    Nothing stops such a thread: what it wrote after the new rows were deleted would stay.
    """
    cls = type(store)
    if (
        cls.aadd_documents is not VectorStore.aadd_documents
        or cls.aadd_texts is not VectorStore.aadd_texts
    ):
        return await write
    task = asyncio.ensure_future(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def leftover(
    vectors: PrecomputedVectors, rollback: Rollback, *, deleted: bool
) -> ConfigurationError:
    """Return the error for a write that ended before all vectors were taken."""
    error = vectors.leftover(deleted=deleted)
    error.add_note(rollback.note(deleted=deleted))
    return error


def _listed(ids: Sequence[str]) -> str:
    shown = ", ".join(map(repr, ids[:_NAMES]))
    more = len(ids) - _NAMES
    return f"{shown} and {more} more" if more > 0 else shown
