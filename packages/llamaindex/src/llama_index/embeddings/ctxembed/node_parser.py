"""`ContextualNodeParser`: any node parser, whose nodes are stamped with their siblings."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Self

from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    field_serializer,
    model_validator,
)
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.node_parser import HierarchicalNodeParser, NodeParser
from llama_index.core.schema import BaseNode, Document, MetadataMode

from ctxembed import ConfigurationError, InputError
from ctxembed.lazy import check_document
from llama_index.embeddings.ctxembed.default_splitter import UsualSplitter
from llama_index.embeddings.ctxembed.embedding import ContextualEmbedding
from llama_index.embeddings.ctxembed.node_metadata import check_unclaimed, remove_stamp
from llama_index.embeddings.ctxembed.node_removal import (
    is_blank,
    remove_nodes,
    source_of,
    without_sources,
)
from llama_index.embeddings.ctxembed.siblings import group_siblings
from llama_index.embeddings.ctxembed.stamping import stamp_groups

logger = logging.getLogger(__name__)

_INNER_ONLY = ("include_metadata", "include_prev_next_rel", "id_func")

_NAMED = 10
"""How many sources a warning names."""


class ContextualNodeParser(NodeParser):
    """Splits with another parser, and stamps every node with its siblings' hash, place and number.

    The stamp is metadata that neither the embedding model nor the LLM reads. With it an ingestion
    cache cannot answer with vectors of another grouping, shuffled nodes are put in order, and
    missing siblings are noticed.

    Chunks without text (empty, white space, NUL) are left out, with one warning per call. A
    document without any text gives no nodes.

    Attributes:
        inner: The parser that splits; settings for it are set on it. The default splits sentences
            without overlap into chunks of up to 64 tokens: several chunks must fit into the model's
            window to be each other's context. With `embed_model` or `check_with` their size is a
            quarter of that model's window, and 256 tokens at the most.
        embed_model: Where given, nodes are embedded too, in one step with splitting.
        errors: What a document gets that cannot be embedded as it is. "raise" raises its
            `InputError`. "skip" logs it, lists it in `failures`, and goes on with the others; it
            needs `embed_model` or `check_with`. In a pipeline with a docstore, run by `ingest`.
        check_with: With `errors="skip"`, the embedding that nodes are checked for where it is not
            `embed_model`: it counts their tokens and embeds nothing.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    inner: NodeParser = Field(default_factory=UsualSplitter)
    embed_model: ContextualEmbedding | None = None
    errors: Literal["raise", "skip"] = "raise"
    check_with: ContextualEmbedding | None = None

    _failures: list[InputError] = PrivateAttr(default_factory=list)

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

    @model_validator(mode="after")
    def _refuse_unchecked(self) -> Self:
        if self.errors == "skip" and (self.check_with or self.embed_model) is None:
            raise ConfigurationError(
                'errors="skip" needs an embedding that counts tokens. Hint: check_with=embedding, '
                "or embed_model=embedding to embed in the same step."
            )
        return self

    @property
    def failures(self) -> list[InputError]:
        """What was left out by the last call; the `key` of each is the source document's id."""
        return [*self._failures]

    @failures.setter
    def failures(self, failures: list[InputError]) -> None:
        self._failures = failures

    @field_serializer("inner")
    def _dump_inner(self, inner: NodeParser) -> dict[str, Any]:
        """Return the parser's own fields, not only those that all parsers have: a cache's key."""
        dumped = inner.to_dict()
        if isinstance(inner, HierarchicalNodeParser):  # whose own dump forgets them
            parsers = inner.node_parser_map.items()
            dumped["node_parser_map"] = {name: parser.to_dict() for name, parser in parsers}
        return dumped

    @field_serializer("embed_model", "check_with")
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
        return self._embedded(self._split(documents, show_progress=show_progress), show_progress)

    def __call__(self, nodes: Sequence[BaseNode], **options: Any) -> list[BaseNode]:
        """Split as `inner` does when it is called: parsers of tables attach the tables then."""
        shown = bool(options.get("show_progress"))
        return self._embedded(self._split(nodes, show_progress=shown, called=True), shown)

    def _embedded(self, nodes: list[BaseNode], show_progress: bool) -> list[BaseNode]:  # noqa: FBT001
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
        return await self._aembedded(nodes, show_progress)

    async def acall(self, nodes: Sequence[BaseNode], **options: Any) -> list[BaseNode]:
        """Like calling it, without blocking the event loop."""
        shown = bool(options.get("show_progress"))
        split = await asyncio.to_thread(self._split, nodes, show_progress=shown, called=True)
        return await self._aembedded(split, shown)

    async def _aembedded(self, nodes: list[BaseNode], show_progress: bool) -> list[BaseNode]:  # noqa: FBT001
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

    def _splitter(self, *, called: bool) -> Callable[..., Sequence[BaseNode]]:
        """Return what splits: the default one cut for the model, where one is known."""
        model, inner = self.embed_model or self.check_with, self.inner
        if model is not None and isinstance(inner, UsualSplitter):
            inner = model.usual_splitter()
        return inner if called else inner.get_nodes_from_documents

    def _split(
        self, documents: Sequence[BaseNode], *, show_progress: bool, called: bool = False
    ) -> list[BaseNode]:
        payload: dict[str, Any] = {EventPayload.DOCUMENTS: documents}
        with self.callback_manager.event(CBEventType.NODE_PARSING, payload=payload) as event:
            failures = [*_refused(documents)]
            if failures and self.errors == "raise":
                raise failures[0]
            good = without_sources(documents, failures)
            split = self._splitter(called=called)
            nodes = self._with_text(good, split(good, show_progress=show_progress))
            for node in nodes:
                remove_stamp(node)
            stamp_groups(group_siblings(nodes, parsed=True), self.embed_model)
            if self.errors == "skip":
                unfit = self._unfit(documents, nodes)
                nodes = without_sources(nodes, unfit)
                failures += unfit
            self._failures = failures
            for error in failures:
                logger.warning("Left out: %s", error)
            event.on_end(payload={EventPayload.NODES: nodes})
        return nodes

    def _with_text(
        self, documents: Sequence[BaseNode], nodes: Sequence[BaseNode]
    ) -> list[BaseNode]:
        """Return the nodes that have text; a warning counts the others and names their sources."""
        blank = [node for node in nodes if is_blank(node)]
        sources = [source_of(node) for node in blank]
        made = {node.ref_doc_id for node in nodes}
        unseen = [each.node_id for each in documents if is_blank(each)]
        sources += [key for key in unseen if key not in made]  # the parser itself gave no node
        if sources:
            names = [*dict.fromkeys(sources)]
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            logger.warning(
                "Chunks without text, left out: %d, of %s%s.",
                *(len(sources), ", ".join(map(repr, names[:_NAMED])), more),
            )
        return remove_nodes(nodes, {node.node_id for node in blank})

    def _unfit(self, documents: Sequence[BaseNode], nodes: Sequence[BaseNode]) -> list[InputError]:
        """Return what keeps documents from being embedded: the first error of each."""
        model = self.check_with or self.embed_model
        if model is None or not nodes:
            return []
        numbers = {document.node_id: number for number, document in enumerate(documents)}
        first: dict[str | None, InputError] = {}
        for error in model.check_nodes(nodes):
            first.setdefault(error.key, error.at(document=numbers.get(error.key or "")))
        return [*first.values()]

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


def _refused(documents: Sequence[BaseNode]) -> Iterator[InputError]:
    """Yield what keeps documents from being split; LlamaIndex mixes up nodes of equal ids."""
    seen: set[str] = set()
    for number, document in enumerate(documents):
        try:
            check_unclaimed(document)
            if document.node_id in seen:
                raise InputError(  # noqa: TRY301 - one of several checks
                    "is the id of two documents in this call. Hint: give each its own, or join "
                    "them.",
                    key=document.node_id,
                )
            _check_unicode(document)
        except InputError as error:
            yield error.at(document=number, chunk=None, key=source_of(document))
        seen.add(document.node_id)


def _check_unicode(document: BaseNode) -> None:
    """Refuse lone surrogates in what splitters read: text, and metadata that is not excluded."""
    check_document([document.get_content(MetadataMode.NONE)], 0, "zero")
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        try:
            check_document([document.get_metadata_str(mode)], 0, "zero")
        except InputError as error:
            raise error.at(f"its metadata {error.message}") from None
