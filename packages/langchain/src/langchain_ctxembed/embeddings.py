"""`ContextualEmbeddings`: ctxembed's embedder behind LangChain's interface.

The texts of a flat call are embedded independently: no store can be trusted to pass one document
per call. Context comes in through `embed_contexts`, or through `ContextualVectorStore`.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from ctxembed import DEFAULT_MODEL, Embedder, InputError, Settings, to_floats
from ctxembed.lazy import KEY_VARIABLES, LazyEmbedder
from ctxembed.pydantic_fields import SettingsFields
from langchain_ctxembed.precomputed_vectors import ACTIVE

logger = logging.getLogger(__name__)


class ContextualEmbeddings(SettingsFields, Embeddings):
    """Embeds texts, queries and whole documents; its fields are `ctxembed.Settings`.

    Making one is cheap: weights are loaded on first use, and are shared by all embedders that ask
    for the same. It may be used from many threads and tasks, copied and pickled. A copy opens its
    own embedder, and is closed by itself. A pickle holds no key: the process that reads it takes
    the key of its own environment.

    Vectors have length 1 unless `normalize=False`, so that cosine, dot product and L2 rank alike.
    With `show_progress` a bar shows the documents, chunks and tokens per second of a call; this
    needs tqdm.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: str = DEFAULT_MODEL
    api_key: SecretStr | None = Field(
        default_factory=secret_from_env(list(KEY_VARIABLES), default=None)
    )

    show_progress: bool = False

    _embedder: LazyEmbedder = PrivateAttr(default_factory=LazyEmbedder)

    def model_post_init(self, _context: object, /) -> None:
        """Refuse settings that no model could take."""
        _ = self.settings

    @cached_property
    def settings(self) -> Settings:
        """What the embedder is opened with."""
        return self._settings(self.model)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a vector; loads no weights.

        Once the embedder is opened, this is the fingerprint of the weights in use, even if their
        files have changed since.
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
        """Return one vector per chunk of every document, each embedded with its siblings.

        Raises:
            InputError: names the document, and the chunk where the error is about one.
            BackendError: the model gave no vectors.
        """
        arrays = self.embedder.embed_documents(documents, progress=self.show_progress)
        return [to_floats(rows) for rows in arrays]

    async def aembed_contexts(self, documents: Sequence[Sequence[str]]) -> list[list[list[float]]]:
        """Like `embed_contexts`, without blocking the event loop."""
        embedder = await self.aembedder()
        arrays = await embedder.aembed_documents(documents, progress=self.show_progress)
        return [to_floats(rows) for rows in arrays]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text, each embedded alone: texts of one call may be unrelated.

        Within a write of `ContextualVectorStore` these are the vectors that it has computed.
        """
        precomputed = self._precomputed(texts)
        if precomputed is not None:
            return precomputed
        documents = [[text] for text in texts]
        arrays = self.embedder.embed_documents(documents, progress=self.show_progress)
        return [to_floats(rows)[0] for rows in arrays]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Like `embed_documents`, without blocking the event loop."""
        precomputed = self._precomputed(texts)
        if precomputed is not None:
            return precomputed
        embedder = await self.aembedder()
        documents = [[text] for text in texts]
        arrays = await embedder.aembed_documents(documents, progress=self.show_progress)
        return [to_floats(rows)[0] for rows in arrays]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return to_floats(self.embedder.embed_queries([text]))[0]

    async def aembed_query(self, text: str) -> list[float]:
        """Like `embed_query`, without blocking the event loop."""
        embedder = await self.aembedder()
        return to_floats(await embedder.aembed_queries([text]))[0]

    def _precomputed(self, texts: list[str]) -> list[list[float]] | None:
        """Return the vectors that a write has computed for the texts; None outside of a write."""
        if isinstance(texts, str):
            raise InputError("got one string. Hint: embed_query(text), or a list of texts.")
        active = ACTIVE.get()
        if active is not None:
            return active.take(texts, self.settings)
        if len(texts) > 1:
            self._embedder.warn_once(
                logger,
                "embed_documents got %d texts and embeds each alone, without context. Hint: wrap "
                "the store in ContextualVectorStore, or call embed_contexts. What embeds hits "
                "again (EmbeddingsFilter, redundancy filters) undoes their context: search with "
                '"k", "similarity_score_threshold" or "mmr" instead. (Said once.)',
                len(texts),
            )
        return None

    def _key(self) -> str | None:
        used = self.backend == "api" or "api_key" in self.model_fields_set
        return self.api_key.get_secret_value() if used and self.api_key is not None else None

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._embedder = LazyEmbedder()  # noqa: SLF001 - its own class
        vars(copied).pop("settings", None)  # model_copy(update=...) changes fields of the copy
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        values = {name: state["__dict__"][name] for name in type(self).model_fields}
        given = state["__pydantic_fields_set__"] - {"api_key"}
        return state | {"__dict__": values | {"api_key": None}, "__pydantic_fields_set__": given}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        key = type(self).model_fields["api_key"].get_default(call_default_factory=True)
        super().__setstate__(state | {"__dict__": state["__dict__"] | {"api_key": key}})
