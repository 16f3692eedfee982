"""`ContextualNodeParser`: any node parser, whose nodes are stamped with their siblings."""

import asyncio
from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.bridge.pydantic import ConfigDict, Field, field_serializer, model_validator
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.node_parser import HierarchicalNodeParser, NodeParser, SentenceSplitter
from llama_index.core.schema import BaseNode, Document

from ctxembed import ConfigurationError, InputError
from llama_index.embeddings.ctxembed.embedding import ContextualEmbedding
from llama_index.embeddings.ctxembed.node_metadata import check_unclaimed, remove_stamp, stamp
from llama_index.embeddings.ctxembed.siblings import group_siblings

_INNER_ONLY = ("include_metadata", "include_prev_next_rel", "id_func")

DEFAULT_CHUNK_SIZE = 96
"""Tokens, as `SentenceSplitter` counts them. Chunks are context where they share a window: the 256
tokens of `minilm` hold two chunks of 96 or one of 200; a chunk of 1024 is refused."""


def _sentences() -> NodeParser:
    """Return the default: chunks without overlap, since each sees its neighbours anyway."""
    return SentenceSplitter(chunk_size=DEFAULT_CHUNK_SIZE, chunk_overlap=0)


class ContextualNodeParser(NodeParser):
    """Splits with another parser, and stamps every node with its siblings' hash, place and number.

    The stamp is metadata that neither the embedding model nor the LLM reads. With it an ingestion
    cache cannot answer with vectors of another grouping, shuffled nodes are put in order, and
    missing siblings are noticed.

    Attributes:
        inner: The parser that splits; settings for it are set on it. The default is a
            `SentenceSplitter` of 96 tokens without overlap: several chunks must fit into the
            model's window to be each other's context. Take larger ones for a model with a long
            window.
        embed_model: Where given, nodes are embedded too, in one step with splitting.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    inner: NodeParser = Field(default_factory=_sentences)
    embed_model: ContextualEmbedding | None = None

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises the class."""
        return "ContextualNodeParser"

    @model_validator(mode="after")
    def _refuse_unread(self) -> Self:
        for name in _INNER_ONLY:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ConfigurationError(
                    f"{name} is the splitting parser's business. Hint: set it on inner."
                )
        return self

    @field_serializer("inner")
    def _dump_inner(self, inner: NodeParser) -> dict[str, Any]:
        """Return the parser's own fields, not only those that all parsers have: a cache's key."""
        dumped = inner.to_dict()
        if isinstance(inner, HierarchicalNodeParser):  # whose own dump forgets them
            parsers = inner.node_parser_map.items()
            dumped["node_parser_map"] = {name: parser.to_dict() for name, parser in parsers}
        return dumped

    @field_serializer("embed_model")
    def _dump_embed_model(self, model: ContextualEmbedding | None) -> dict[str, Any] | None:
        return None if model is None else model.to_dict()

    def get_nodes_from_documents(
        self,
        documents: Sequence[Document],
        show_progress: bool = False,  # noqa: FBT001, FBT002 - as LlamaIndex has it
        **_: Any,
    ) -> list[BaseNode]:
        """Split documents and stamp the nodes, and embed them where there is an `embed_model`.

        Further keyword arguments are what an index was called with, and are not passed on.

        Raises:
            InputError: nodes that cannot be embedded; `key` is the source document's id.
            BackendError: the model gave no vectors.
        """
        nodes = self._split(documents, show_progress=show_progress)
        if self.embed_model is not None:
            self.embed_model(nodes, show_progress=show_progress)
        return nodes

    async def aget_nodes_from_documents(
        self,
        documents: Sequence[Document],
        show_progress: bool = False,  # noqa: FBT001, FBT002 - as LlamaIndex has it
        **_: Any,
    ) -> list[BaseNode]:
        """Like `get_nodes_from_documents`, without blocking the event loop.

        Splits with the parser's sync method in a thread: the async one of `HierarchicalNodeParser`
        returns documents unsplit.
        """
        nodes = await asyncio.to_thread(self._split, documents, show_progress=show_progress)
        if self.embed_model is not None:
            await self.embed_model.acall(nodes, show_progress=show_progress)
        return nodes

    def _parse_nodes(
        self,
        nodes: Sequence[BaseNode],
        show_progress: bool = False,  # noqa: FBT001, FBT002 - as LlamaIndex has it
        **_: Any,
    ) -> list[BaseNode]:
        return self._split(nodes, show_progress=show_progress)

    def _split(self, documents: Sequence[BaseNode], *, show_progress: bool) -> list[BaseNode]:
        payload: dict[str, Any] = {EventPayload.DOCUMENTS: documents}
        with self.callback_manager.event(CBEventType.NODE_PARSING, payload=payload) as event:
            _check(documents)
            nodes = self.inner(documents, show_progress=show_progress)
            for node in nodes:
                remove_stamp(node)
            fingerprint = "" if self.embed_model is None else self.embed_model.fingerprint
            for siblings in group_siblings(nodes, parsed=True):
                stamp(siblings.nodes, siblings.key or "", str(siblings.level), fingerprint)
            event.on_end(payload={EventPayload.NODES: nodes})
        return nodes

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to go without `inner`, in whose place another process would take the default.

        The state is that of a copy, because LlamaIndex deletes from it what cannot be pickled.
        """
        state = NodeParser.__getstate__(self.model_copy())
        if "inner" not in state["__dict__"]:
            raise ConfigurationError(
                f"inner ({type(self.inner).__name__}) cannot be pickled, and worker processes "
                "need it. Hint: define it at the top level of a module."
            )
        return state


def _check(documents: Sequence[BaseNode]) -> None:
    """Refuse keys in use, and two documents with one id: LlamaIndex mixes up their nodes."""
    seen: set[str] = set()
    for document in documents:
        check_unclaimed(document)
        if document.node_id in seen:
            raise InputError(
                "is the id of two documents in this call. Hint: give each its own, or join them.",
                key=document.node_id,
            )
        seen.add(document.node_id)
