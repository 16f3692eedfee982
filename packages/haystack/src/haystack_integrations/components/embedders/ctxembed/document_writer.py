# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""`ContextualDocumentWriter`: replaces the chunks of a source, and leaves nothing stale behind.

When a source changes, its chunks get other ids, or keep them with the vectors of a former text.
Every duplicate policy of a store then leaves stale vectors or orphans.
"""

import asyncio
from typing import Any, Literal, Self, get_args

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.types import DocumentStore

from haystack_integrations.components.embedders.ctxembed.row_replacement import (
    areplace_rows,
    check_store,
    has_async_methods,
    replace_rows,
)
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

Partial = Literal["error", "append"]


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
        check_store(document_store, deletes=partial == "error")

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
        return replace_rows(self.document_store, self._plan(documents))

    @component.output_types(documents_written=int, documents_deleted=int, skipped=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Like `run`, without blocking the event loop.

        A store without async methods works in a thread.

        :param documents: Documents with embeddings; all chunks of a source in one call.
        :returns: What `run` returns.
        """
        if not has_async_methods(self.document_store):
            return await asyncio.to_thread(self.run, documents)
        return await areplace_rows(self.document_store, self._plan(documents))

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
