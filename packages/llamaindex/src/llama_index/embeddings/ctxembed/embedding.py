"""`ContextualEmbedding`: LlamaIndex's embedding model, and the transformation that sees siblings.

LlamaIndex shows nodes to an embedding in one place only, as a transformation. There they are
grouped, ordered and embedded with their siblings. What other methods get is left to `FlatTexts`.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, closing
from typing import Any, Literal, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from llama_index.core.schema import BaseNode, MetadataMode

from ctxembed import (
    DEFAULT_MODEL,
    Array,
    ConfigurationError,
    EmbedError,
    InputError,
    Settings,
)
from ctxembed.lazy import Watch, progress_bar
from ctxembed.pydantic_fields import SettingsFields
from llama_index.embeddings.ctxembed.default_splitter import UsualSplitter
from llama_index.embeddings.ctxembed.events import dispatcher, document_events
from llama_index.embeddings.ctxembed.flat_texts import FlatTexts
from llama_index.embeddings.ctxembed.model_input import (
    ModelInput,
    located,
    model_input,
    set_embeddings,
    without_shared,
)
from llama_index.embeddings.ctxembed.siblings import check_complete, group_siblings

logger = logging.getLogger(__name__)

_CACHE = ("cache", "cache_bytes")


class ContextualEmbedding(SettingsFields, FlatTexts):
    """Embeds nodes with the others of their document, and queries, through `ctxembed`.

    Give it to an index as `embed_model` and put it last among the `transformations` too: there it
    groups nodes by source document and hierarchy level, orders them, and sets `node.embedding`.

    Its fields are those of `ctxembed.Settings` (`model` is `model_name` here) and:

    Attributes:
        metadata_mode: Which metadata the model reads before a node's text.
        metadata_once: Metadata that all nodes of a document share is read once, as a chunk of its
            own in front, and not before every text.
        missing_siblings: Nodes whose neighbours are not in the call are an "error"; "ignore"
            embeds the nodes that are there, and a warning says so.
        show_progress: Draw a bar of documents, chunks and tokens per second. Indexes and pipelines
            pass no `show_progress` of theirs on to a transformation. It is in no dict and no cache
            key.
        api_key: For a remote API, where it goes before the environment's. It is left out of
            `to_dict` and of pickles: worker processes take the key from their environment.

    Making one is cheap: weights are loaded on first use, and are shared by all embedders that ask
    for the same. It may be used from many threads and tasks. Vectors have length 1 unless
    `normalize=False`.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)

    model_name: str = DEFAULT_MODEL
    metadata_mode: MetadataMode = MetadataMode.EMBED
    metadata_once: bool = False
    missing_siblings: Literal["error", "ignore"] = "error"
    show_progress: bool = Field(default=False, exclude=True)
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    embed_batch_size: int = Field(default=2048, gt=0, le=2048)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises the class."""
        return "ContextualEmbedding"

    @model_validator(mode="before")
    @classmethod
    def _refuse_model(cls, fields: object) -> object:
        if isinstance(fields, dict) and "model" in fields:
            raise ConfigurationError(
                "model is called model_name here, as in all of LlamaIndex. Hint: model_name=..."
            )
        return fields

    @field_validator("embeddings_cache")
    @classmethod
    def _refuse_cache(cls, cache: object) -> object:
        if cache is not None:
            raise ConfigurationError(
                "embeddings_cache finds vectors by a text alone, and a contextual vector depends "
                "on its siblings too. Hint: leave it out; an IngestionPipeline's own cache works."
            )
        return cache

    @model_validator(mode="after")
    def _check_settings(self) -> Self:
        _ = self.settings
        return self

    def __setattr__(self, name: str, value: object) -> None:
        """Set a field, or raise and leave it as it was."""
        before = dict(self.__dict__)
        try:
            super().__setattr__(name, value)
        except Exception:  # pydantic itself keeps what a check of the whole refuses
            self.__dict__.update(before)
            raise

    @property
    def settings(self) -> Settings:
        """What the embedder is opened with."""
        return self._settings(self.model_name)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a vector.

        It is that of the weights in memory, where they are loaded, else of the files on disk.
        """
        return self._embedder.fingerprint(self.settings, self._key())

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Return every setting but the cache, and the fingerprint, which also covers files.

        LlamaIndex hashes this to see whether a pipeline is still the same. The cache changes no
        vector, and belongs to a machine.
        """
        values = super().to_dict(**kwargs) | {"fingerprint": self.fingerprint}
        return {name: value for name, value in values.items() if name not in _CACHE}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **kwargs: Any) -> Self:
        """Return the embedding that `to_dict` gave, without a key."""
        given = {name: value for name, value in data.items() if name != "fingerprint"}
        return super().from_dict(given, **kwargs)

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Set the embedding of every node, whether it has one or not, and return the nodes.

        Keyword arguments are what an index was called with; `show_progress` draws a bar, as the
        field does.

        Raises:
            InputError: nodes that cannot be embedded; `key` is the source document's id.
            BackendError: the model gave no vectors.
        """
        if not nodes:
            return nodes
        inputs = self._inputs(nodes)
        embedder = self._open()
        if self.rate_limiter is not None:
            for _ in inputs:
                self.rate_limiter.acquire()
        found: list[list[list[float]]] = []
        chunks = [each.chunks for each in inputs]
        with (
            located(inputs),
            document_events(self, [each.texts for each in inputs]) as events,
            self._bar(chunks, kwargs) as watch,
            closing(embedder.stream(events.begun(chunks, self.empty), watch=watch)) as outcomes,
        ):
            for number, rows in enumerate(outcomes):
                found.append(inputs[number].vectors(_array(rows)))
                events.end(number, found[number])
        set_embeddings(inputs, found)
        return nodes

    @dispatcher.span  # LlamaIndex itself sees to that of __call__
    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Like calling it, without blocking the event loop."""
        if not nodes:
            return nodes
        inputs = await asyncio.to_thread(self._inputs, nodes)
        embedder = await self._aopen()
        if self.rate_limiter is not None:
            for _ in inputs:
                await self.rate_limiter.async_acquire()
        found: list[list[list[float]]] = []
        chunks = [each.chunks for each in inputs]
        with (
            located(inputs),
            document_events(self, [each.texts for each in inputs]) as events,
            self._bar(chunks, kwargs) as watch,
        ):
            stream = embedder.astream(events.begun(chunks, self.empty), watch=watch)
            async with aclosing(stream) as outcomes:
                async for rows in outcomes:
                    number = len(found)
                    found.append(await asyncio.to_thread(inputs[number].vectors, _array(rows)))
                    events.end(number, found[number])
        await asyncio.to_thread(set_embeddings, inputs, found)
        return nodes

    def check_nodes(self, nodes: Sequence[BaseNode]) -> list[InputError]:
        """Return what keeps documents from being embedded; `key` is the source document's id.

        Nodes are read and their tokens counted, as when they are embedded; nothing is embedded.
        """
        embedder, errors = self._open(), []
        for number, each in enumerate(self._inputs(nodes)):
            (error,) = embedder.check_documents([each.chunks])
            if error is not None:
                error = without_shared(error.at(document=number, key=each.source), each)
                if not isinstance(error, InputError):
                    raise error
                errors.append(error)
        return errors

    def usual_splitter(self) -> UsualSplitter:
        """Return a splitter whose chunks are of the usual size for the model."""
        return UsualSplitter.for_model(self._open())

    def close(self) -> None:
        """Let go of weights and connections; a call under way fails, the next opens them again."""
        self._embedder.close()

    def _inputs(self, nodes: Sequence[BaseNode]) -> list[ModelInput]:
        groups = group_siblings(nodes)
        try:
            check_complete(groups)
        except InputError as error:
            if self.missing_siblings == "error":
                raise
            self._embedder.warn_once(
                logger,
                "Embedded without siblings that are not in the call: document %r. Its vectors "
                "differ from those with all of them. Hint: stamp_context(nodes) where nodes were "
                "left out on purpose. (Said once.)",
                error.key,
            )
        mode, once = self.metadata_mode, self.metadata_once
        return [model_input(siblings, mode, metadata_once=once) for siblings in groups]

    def _bar(
        self, documents: Sequence[list[str]], called_with: Mapping[str, Any]
    ) -> AbstractContextManager[Watch]:
        shown = self.show_progress or bool(called_with.get("show_progress"))
        return progress_bar(documents, shown=shown)

    def _key(self) -> str | None:
        return None if self.api_key is None else self.api_key.get_secret_value()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the key.

        The state is that of a copy, because LlamaIndex deletes from it what cannot be pickled.
        """
        return BaseEmbedding.__getstate__(self.model_copy(update={"api_key": None}))


def _array(outcome: Array | EmbedError) -> Array:
    if isinstance(outcome, EmbedError):
        raise outcome
    return outcome
