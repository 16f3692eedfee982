# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""`ContextualSourceDeleter`: deletes all chunks of sources that are gone.

A source that has no chunks left is in no call of the writer, which then cannot know of it.
"""

import asyncio
from typing import Any, Self

from haystack import component, default_from_dict, default_to_dict
from haystack.document_stores.types import DocumentStore

from haystack_integrations.components.embedders.ctxembed.row_replacement import (
    areplace_rows,
    check_store,
    has_async_methods,
    replace_rows,
)
from haystack_integrations.components.embedders.ctxembed.siblings import check_field
from haystack_integrations.components.embedders.ctxembed.write_plan import WritePlan


@component
class ContextualSourceDeleter:
    """Deletes the chunks of sources from a store.

    ### Usage example

    ```python
    from haystack import Document
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack_integrations.components.embedders.ctxembed import ContextualSourceDeleter

    store = InMemoryDocumentStore()
    store.write_documents([Document(content="The king fell ill.", meta={"source_id": "tale"})])
    print(ContextualSourceDeleter(store).run(["tale"]))

    # {'documents_deleted': 1}
    ```
    """

    def __init__(self, document_store: DocumentStore, *, source_key: str = "source_id") -> None:
        """Create the component.

        :param document_store: The store; it has to filter and delete.
        :param source_key: The meta field that names the source of a chunk.
        :raises ConfigurationError:
            The store cannot filter or delete, or `source_key` names no field.
        """
        check_field("source_key", source_key)
        check_store(document_store, deletes=True)
        self.document_store = document_store
        self.source_key = source_key

    def to_dict(self) -> dict[str, Any]:
        """Serialize the component to a dictionary.

        :returns: Dictionary with every parameter.
        """
        return default_to_dict(
            self, document_store=self.document_store, source_key=self.source_key
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Deserialize the component, and the document store with it.

        :param data: Dictionary that `to_dict` gave.
        :returns: The component.
        """
        return default_from_dict(cls, data)

    @component.output_types(documents_deleted=int)
    def run(self, sources: list[str]) -> dict[str, int]:
        """Delete the chunks of sources.

        :param sources: The values of the source key; one that the store does not have is no error.
        :returns: A dictionary with the key `documents_deleted`, the number of rows that went.
        """
        return _deleted(replace_rows(self.document_store, self._plan(sources)))

    @component.output_types(documents_deleted=int)
    async def run_async(self, sources: list[str]) -> dict[str, int]:
        """Like `run`, without blocking the event loop.

        A store without async methods works in a thread.

        :param sources: The values of the source key.
        :returns: What `run` returns.
        """
        if not has_async_methods(self.document_store):
            return await asyncio.to_thread(self.run, sources)
        return _deleted(await areplace_rows(self.document_store, self._plan(sources)))

    def _plan(self, sources: list[str]) -> WritePlan:
        return WritePlan(self.source_key, [], {*sources}, set(), [])


def _deleted(outcome: dict[str, Any]) -> dict[str, int]:
    return {"documents_deleted": outcome["documents_deleted"]}
