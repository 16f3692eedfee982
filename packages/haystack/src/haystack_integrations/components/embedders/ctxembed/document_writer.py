# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""`ContextualDocumentWriter`: replaces the chunks of a source, and leaves nothing stale behind.

When a source changes, its chunks get other ids, or keep them with the vectors of a former text.
Every duplicate policy of a store then leaves stale vectors or orphans.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, Self, get_args

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import DocumentStore, DuplicatePolicy

from ctxembed import ConfigurationError
from haystack_integrations.components.embedders.ctxembed.siblings import (
    BareNames,
    Grouping,
    MissingGroup,
    check_choice,
    check_documents,
)
from haystack_integrations.components.embedders.ctxembed.write_plan import (
    AUTO,
    WritePlan,
    plan_write,
)

Filters = dict[str, Any]
Partial = Literal["error", "append"]
_SOURCES_PER_FILTER = 500
"""Databases bound how much one filter may list: SQLite, which Chroma uses, takes 32,766 values."""


@component
class ContextualDocumentWriter:
    """Writes the chunks of whole sources, and deletes their former chunks from the store.

    A call is checked first: every chunk has its embedding, and the chunks of a source count from 0
    without gaps. Then the chunks are written, and the rows of the same sources that are not in the
    call are deleted. A write that fails leaves the former rows; running again repairs. Documents
    without a source are written by their id. A source that has no chunks left has to be deleted by
    hand.

    It takes what a lenient embedder gives. A source that the embedder failed on is left out whole:
    its former rows stay, and its documents come back in `skipped`. A document without text is left
    out, and its former row is deleted.

    ### Usage example

    ```python
    from haystack import Document
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack_integrations.components.embedders.ctxembed import ContextualDocumentWriter

    store = InMemoryDocumentStore()
    writer = ContextualDocumentWriter(store)
    meta = {"source_id": "tale", "split_id": 0}
    writer.run([Document(content="The king fell ill.", meta=meta, embedding=[1.0, 0.0])])
    changed = [Document(content="The queen fell ill.", meta=meta, embedding=[0.0, 1.0])]
    print(writer.run(changed))

    # {'documents_written': 1, 'documents_deleted': 1, 'skipped': []}
    ```
    """

    def __init__(
        self,
        document_store: DocumentStore,
        *,
        source_key: str = AUTO,
        order_key: str | None = AUTO,
        missing_group: MissingGroup = "single",
        bare_names: BareNames = "error",
        partial: Partial = "error",
    ) -> None:
        """Create the component.

        :param document_store: The store; it has to filter and delete, unless `partial="append"`.
        :param source_key:
            The meta field that names the source of a chunk. `"auto"` is that of
            `ContextualDocumentEmbedder`, else `source_id`. Take one that stays when the source
            changes: a path, or the `source_id` of documents with ids of their own.
        :param order_key:
            The meta field that counts the chunks of a source from 0. `"auto"` is that of
            `ContextualDocumentEmbedder`, else `split_id`. With `None` there is no such check.
        :param missing_group:
            A document without a source is written by its id (`"single"`) or is an `"error"`.
        :param bare_names:
            Where `file_path` names the source, a file name without a folder is an `"error"`: an
            update cannot be told from another file of the same name, whose rows would go.
            `"allow"` takes it.
        :param partial:
            A source without some of its chunks is an `"error"`. `"append"` writes what is there,
            checks no order and deletes nothing.
        :raises ConfigurationError:
            The store cannot filter or delete, or a setting names something unknown.
        """
        self._grouping = Grouping(
            source_key=source_key,
            order_key=order_key,
            missing_group=missing_group,
            bare_names=bare_names,
        )
        self._grouping.check()
        check_choice("partial", partial, get_args(Partial))
        self.document_store = document_store
        self.source_key = source_key
        self.order_key = order_key
        self.missing_group = missing_group
        self.bare_names = bare_names
        self.partial = partial
        needed = ["write_documents"]
        if partial == "error":
            needed += ["filter_documents", "delete_documents"]
        for method in needed:
            if not callable(getattr(document_store, method, None)):
                raise self._unable(method)

    def to_dict(self) -> dict[str, Any]:
        """Serialize the component to a dictionary.

        :returns: Dictionary with every parameter.
        """
        return default_to_dict(
            self,
            document_store=self.document_store,
            source_key=self.source_key,
            order_key=self.order_key,
            missing_group=self.missing_group,
            bare_names=self.bare_names,
            partial=self.partial,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Deserialize the writer, and the document store with it.

        :param data: Dictionary that `to_dict` gave.
        :returns: The writer.
        """
        return default_from_dict(cls, data)

    @component.output_types(documents_written=int, documents_deleted=int, skipped=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Write the chunks of whole sources in place of their former ones.

        :param documents: Documents with embeddings; all chunks of a source in one call.
        :returns:
            A dictionary with the following keys:
            - `documents_written`: The documents written.
            - `documents_deleted`: The former rows of the same sources that were deleted.
            - `skipped`: All documents of the sources that the embedder failed on.
        :raises InputError:
            A chunk that no embedder has seen, an id that is there twice, or a source with gaps;
            nothing was changed.
        :raises ConfigurationError: The store cannot filter or delete.
        """
        plan = self._plan(documents)
        if plan.is_empty:
            return plan.outcome(0, 0)
        store = self.document_store
        filters = self._filters(plan)
        spared = {document.id for document in plan.documents}
        try:
            former = [store.filter_documents(each) for each in filters]
            written = (
                store.write_documents(plan.documents, policy=DuplicatePolicy.OVERWRITE)
                if plan.documents
                else 0
            )
            while stale := self._stale(former, plan, spared):
                store.delete_documents(stale)
                spared.update(stale)
                former = [store.filter_documents(each) for each in filters]
        except NotImplementedError as error:
            raise self._unable("filter_documents or delete_documents") from error
        return plan.outcome(written, len(spared) - len(plan.documents))

    @component.output_types(documents_written=int, documents_deleted=int, skipped=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Like `run`, without blocking the event loop.

        A store without async methods works in a thread.

        :param documents: Documents with embeddings; all chunks of a source in one call.
        :returns: What `run` returns.
        """
        store: Any = self.document_store
        names = ("filter_documents", "write_documents", "delete_documents")
        if not all(hasattr(store, f"{name}_async") for name in names):
            return await asyncio.to_thread(self.run, documents)
        plan = self._plan(documents)
        if plan.is_empty:
            return plan.outcome(0, 0)
        filters = self._filters(plan)
        spared = {document.id for document in plan.documents}
        try:
            former = [await store.filter_documents_async(each) for each in filters]
            written = (
                await store.write_documents_async(plan.documents, policy=DuplicatePolicy.OVERWRITE)
                if plan.documents
                else 0
            )
            while stale := self._stale(former, plan, spared):
                await store.delete_documents_async(stale)
                spared.update(stale)
                former = [await store.filter_documents_async(each) for each in filters]
        except NotImplementedError as error:
            raise self._unable("filter_documents or delete_documents") from error
        return plan.outcome(written, len(spared) - len(plan.documents))

    def close(self) -> None:
        """Let go of what the store holds, where it has something to close."""
        if hasattr(self.document_store, "close"):
            self.document_store.close()

    async def close_async(self) -> None:
        """Let go of what the store holds, where it has something to close asynchronously."""
        if hasattr(self.document_store, "close_async"):
            await self.document_store.close_async()

    def _plan(self, documents: list[Document]) -> WritePlan:
        check_documents(documents, type(self).__name__)
        return plan_write(documents, self._grouping, whole=self.partial == "error")

    def _filters(self, plan: WritePlan) -> list[Filters]:
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
        self, found: Iterable[Sequence[Document]], plan: WritePlan, spared: Collection[str]
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

    def _unable(self, method: str) -> ConfigurationError:
        return ConfigurationError(
            f"{type(self.document_store).__name__} has no working {method}, so the former rows "
            'of a source cannot be found and deleted. Hint: partial="append" only writes; delete '
            "the former rows with the store's own client before."
        )
