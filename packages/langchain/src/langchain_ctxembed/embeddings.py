"""`ContextualEmbeddings`: ctxembed's embedder behind LangChain's interface.

A flat call means independent texts: no store can be trusted to pass one document a call. Context
comes in through `embed_contexts`, or through `ContextualVectorStore`.
"""

import logging
from collections.abc import Sequence
from typing import Any, Self

from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from ctxembed import DEFAULT_MODEL, Array, Embedder, InputError, Settings, to_floats
from ctxembed.lazy import KEY_VARIABLES, LazyEmbedder
from ctxembed.pydantic_fields import SettingsFields
from langchain_ctxembed.precomputed_vectors import Replay

logger = logging.getLogger(__name__)


class ContextualEmbeddings(SettingsFields, Embeddings):
    """Embeds texts, queries and whole documents; its fields are `ctxembed.Settings`.

    Light to make: weights load on first use, and are shared by all that ask for the same. May be
    used from many threads and tasks, copied and pickled. A copy opens its own embedder, to be closed
    by itself. A pickle holds no key: the process that reads it takes the one of its own environment.

    Vectors have length 1 unless `normalize=False`, so that a store ranks right by cosine, dot
    product and L2 alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: str = DEFAULT_MODEL
    api_key: SecretStr | None = Field(
        default_factory=secret_from_env(list(KEY_VARIABLES), default=None)
    )

    _embedder: LazyEmbedder = PrivateAttr(default_factory=LazyEmbedder)

    def model_post_init(self, _context: object, /) -> None:
        """Refuse settings that no model could take."""
        _ = self.settings

    @property
    def settings(self) -> Settings:
        """What the embedder is opened with."""
        return self._settings(self.model)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a vector; loads no weights.

        Once the embedder is opened, that of the weights in use, whatever has become of their files.
        """
        return self._embedder.fingerprint(self.settings, self._key())

    @property
    def embedder(self) -> Embedder:
        """The core's embedder, opened on first use.

        Raises:
            ConfigurationError: a key was given, not by the environment, that nothing would read.
        """
        return self._embedder.get(self.settings, self._key())

    async def aembedder(self) -> Embedder:
        """Like `embedder`, without loading weights on the event loop."""
        return await self._embedder.aget(self.settings, self._key())

    def close(self) -> None:
        """Let go of weights and connections; the next use opens them again."""
        self._embedder.close()

    def embed_contexts(self, documents: Sequence[Sequence[str]]) -> list[list[list[float]]]:
        """Return a vector for every chunk of every document, each embedded with its siblings.

        Raises:
            InputError: names the document, and the chunk where it is one.
            BackendError: the model gave no vectors.
        """
        return [to_floats(rows) for rows in self.embedder.embed_documents(documents)]

    async def aembed_contexts(self, documents: Sequence[Sequence[str]]) -> list[list[list[float]]]:
        """Like `embed_contexts`, without blocking the event loop."""
        embedder = await self.aembedder()
        return [to_floats(rows) for rows in await embedder.aembed_documents(documents)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector a text, each embedded alone: texts of one call need not belong together.

        Within a write of `ContextualVectorStore`, the vectors that are due to the store.
        """
        due = self._due(texts)
        if due is not None:
            return due
        return _flat(self.embedder.embed_documents([[text] for text in texts]))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Like `embed_documents`, without blocking the event loop."""
        due = self._due(texts)
        if due is not None:
            return due
        embedder = await self.aembedder()
        return _flat(await embedder.aembed_documents([[text] for text in texts]))

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return to_floats(self.embedder.embed_queries([text]))[0]

    async def aembed_query(self, text: str) -> list[float]:
        """Like `embed_query`, without blocking the event loop."""
        embedder = await self.aembedder()
        return to_floats(await embedder.aembed_queries([text]))[0]

    def _due(self, texts: list[str]) -> list[list[float]] | None:
        """Return what an active replay holds for the texts; None where they are independent."""
        if isinstance(texts, str):
            raise InputError("got one string. Hint: embed_query(text), or a list of texts.")
        replay = Replay.active()
        if replay is not None:
            return replay.take(texts, self.settings)
        if len(texts) > 1:
            self._embedder.warn_once(
                logger,
                "embed_documents got %d texts and embeds each alone, without context. Hint: wrap the "
                "store in ContextualVectorStore, or call embed_contexts. (Said once.)",
                len(texts),
            )
        return None

    def _key(self) -> str | None:
        used = self.backend == "api" or "api_key" in self.model_fields_set
        return self.api_key.get_secret_value() if used and self.api_key is not None else None

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._embedder = LazyEmbedder()  # noqa: SLF001 - its own class
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        values = state["__dict__"] | {"api_key": None}
        given = state["__pydantic_fields_set__"] - {"api_key"}
        return state | {"__dict__": values, "__pydantic_fields_set__": given}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        key = type(self).model_fields["api_key"].get_default(call_default_factory=True)
        super().__setstate__(state | {"__dict__": state["__dict__"] | {"api_key": key}})


def _flat(arrays: list[Array]) -> list[list[float]]:
    return [row for rows in arrays for row in to_floats(rows)]
