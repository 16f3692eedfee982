# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""How a plan is carried out in a store: rows are found, written, and stale ones deleted last.

A write that fails leaves the former rows. What is written and what is stale is the plan's business.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from haystack import Document
from haystack.document_stores.types import DocumentStore, DuplicatePolicy

from ctxembed import ConfigurationError
from haystack_integrations.components.embedders.ctxembed.write_plan import WritePlan

Filters = dict[str, Any]
_SOURCES_PER_FILTER = 500
"""Databases bound how much one filter may list: SQLite, which Chroma uses, takes 32,766 values."""
_METHODS = ("write_documents", "filter_documents", "delete_documents")


def check_store(store: DocumentStore, *, deletes: bool) -> None:
    """Refuse a store that cannot write or, where rows are to go, filter and delete."""
    for method in _METHODS if deletes else _METHODS[:1]:
        if not callable(getattr(store, method, None)):
            raise _unable(store, method)


def has_async_methods(store: DocumentStore) -> bool:
    """Tell whether a store does all that is needed without blocking an event loop."""
    return all(hasattr(store, f"{name}_async") for name in _METHODS)


def replace_rows(store: DocumentStore, plan: WritePlan) -> dict[str, Any]:
    """Write the documents of a plan, delete the former rows of its sources, and say how many."""
    if plan.is_empty:
        return plan.outcome(0, 0)
    filters = _filters(plan)
    spared = {document.id for document in plan.documents}
    try:
        former = [store.filter_documents(each) for each in filters]
        written = (
            store.write_documents(plan.documents, policy=DuplicatePolicy.OVERWRITE)
            if plan.documents
            else 0
        )
        while stale := _stale(former, plan, spared):
            store.delete_documents(stale)
            spared.update(stale)
            former = [store.filter_documents(each) for each in filters]
    except NotImplementedError as error:
        raise _unable(store, "filter_documents or delete_documents") from error
    return plan.outcome(written, len(spared) - len(plan.documents))


async def areplace_rows(store: Any, plan: WritePlan) -> dict[str, Any]:  # noqa: ANN401
    """Like `replace_rows`, by the async methods that Haystack's protocol of stores lacks."""
    if plan.is_empty:
        return plan.outcome(0, 0)
    filters = _filters(plan)
    spared = {document.id for document in plan.documents}
    try:
        former = [await store.filter_documents_async(each) for each in filters]
        written = (
            await store.write_documents_async(plan.documents, policy=DuplicatePolicy.OVERWRITE)
            if plan.documents
            else 0
        )
        while stale := _stale(former, plan, spared):
            await store.delete_documents_async(stale)
            spared.update(stale)
            former = [await store.filter_documents_async(each) for each in filters]
    except NotImplementedError as error:
        raise _unable(store, "filter_documents or delete_documents") from error
    return plan.outcome(written, len(spared) - len(plan.documents))


def _filters(plan: WritePlan) -> list[Filters]:
    """Return filters that find the former rows; a store takes a list of one type only.

    Ids are asked for one by one: Chroma knows no other filter for them.
    """
    field = f"meta.{plan.source_key}"
    by_type = [[key for key in plan.sources if isinstance(key, kind)] for kind in (int, str)]
    return [
        {"field": field, "operator": "in", "value": names[n : n + _SOURCES_PER_FILTER]}
        for names in by_type
        for n in range(0, len(names), _SOURCES_PER_FILTER)
    ] + [{"field": "id", "operator": "==", "value": each} for each in plan.blank_ids]


def _stale(
    found: Iterable[Sequence[Document]], plan: WritePlan, spared: Collection[str]
) -> list[str]:
    """Return the ids of what a store found, without rows of other sources and spared ones.

    What was found is checked: some stores compare words, or take no notice of a filter.
    """
    rows = (
        row
        for rows in found
        for row in rows
        if row.id in plan.blank_ids or row.meta.get(plan.source_key) in plan.sources
    )
    return [*dict.fromkeys(row.id for row in rows if row.id not in spared)]


def _unable(store: DocumentStore, method: str) -> ConfigurationError:
    return ConfigurationError(
        f"{type(store).__name__} has no working {method}, so the former rows "
        'of a source cannot be found and deleted. Hint: partial="append" only writes; delete '
        "the former rows with the store's own client before."
    )
