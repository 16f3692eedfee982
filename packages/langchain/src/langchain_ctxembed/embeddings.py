"""`ContextualEmbeddings`: ctxembed's embedder behind LangChain's interface.

The texts of a flat call are embedded independently: no store can be trusted to pass one document
per call. Context comes in through `embed_contexts`, or through `ContextualVectorStore`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, Literal, Self

from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr

from ctxembed import Embedder, InputError, Settings, to_floats
from ctxembed.forks import ForkLock
from ctxembed.settings import (
    DEFAULT_MODEL,
    BackendChoice,
    Dtype,
    EmptyChunks,
    LongChunks,
    Pooling,
)
from langchain_ctxembed.precomputed_vectors import ACTIVE

logger = logging.getLogger(__name__)

KEY_NAMES = ["PERPLEXITY_API_KEY", "PPLX_API_KEY", "PERPLEXITYAI_API_KEY"]


class _Opened:
    """The embedder once it is opened: no part of the value. A copy or pickle begins without."""

    def __init__(self) -> None:
        self.warned = False
        self.embedder: Embedder | None = None
        self._lock = ForkLock()

    def get(self, settings: Settings, key: str | None) -> Embedder:
        with self._lock:
            if self.embedder is None:
                self.embedder = Embedder.open(settings, api_key=key)
            return self.embedder

    def close(self) -> None:
        with self._lock:
            embedder, self.embedder = self.embedder, None
        if embedder is not None:
            embedder.close()

    def __reduce__(self) -> tuple[type[_Opened], tuple[()]]:
        return _Opened, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Opened)

    __hash__ = None  # type: ignore[assignment]


class ContextualEmbeddings(BaseModel, Embeddings):
    """Embeds texts, queries and whole documents; its fields are `ctxembed.Settings`.

    Making one is cheap: weights are loaded on first use, and are shared by all embedders that ask
    for the same. It may be used from many threads and tasks, copied and pickled. A copy opens its
    own embedder, and is closed by itself. A pickle holds no key: the process that reads it takes
    the key of its own environment.

    Vectors have length 1 unless `normalize=False`, so that cosine, dot product and L2 rank alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: str = DEFAULT_MODEL
    backend: BackendChoice = "auto"
    revision: str | None = None
    device: str | None = None
    dtype: Dtype = "auto"
    dimensions: int | None = None
    encoding: Literal["int8", "binary", "float"] = "int8"
    normalize: bool = True
    window_tokens: int | None = None
    overlap_tokens: int | None = None
    context_weight: float | None = None
    long_chunks: LongChunks = "error"
    empty: EmptyChunks = "error"
    pooling: Pooling = "auto"
    query_prefix: str | None = None
    document_prefix: str | None = None
    batch_tokens: int | None = None
    base_url: str | None = None
    timeout: float | None = None
    max_retries: int | None = None
    concurrency: int | None = None
    tokenizer: str | None = None
    api_key: SecretStr | None = Field(default_factory=secret_from_env(KEY_NAMES, default=None))

    _opened: _Opened = PrivateAttr(default_factory=_Opened)

    def model_post_init(self, _context: object, /) -> None:
        """Refuse settings that no model could take."""
        _ = self.settings

    @cached_property
    def settings(self) -> Settings:
        """What the embedder is opened with."""
        return Settings(**{field.name: getattr(self, field.name) for field in fields(Settings)})

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a vector; loads no weights.

        Once the embedder is opened, that of the weights in use, whatever has become of their files.
        """
        opened = self._opened.embedder
        return self.settings.fingerprint() if opened is None else opened.fingerprint

    @property
    def embedder(self) -> Embedder:
        """The core's embedder, opened on first use.

        Raises:
            ConfigurationError: a key was given, not by the environment, that nothing would read.
        """
        used = self.backend == "api" or "api_key" in self.model_fields_set
        secret = self.api_key if used else None
        key = None if secret is None else secret.get_secret_value()
        return self._opened.get(self.settings, key)

    async def aembedder(self) -> Embedder:
        """Like `embedder`, without loading weights on the event loop."""
        return await asyncio.to_thread(lambda: self.embedder)

    def close(self) -> None:
        """Let go of weights and connections; the next use opens them again."""
        self._opened.close()

    def embed_contexts(self, documents: Sequence[Sequence[str]]) -> list[list[list[float]]]:
        """Return one vector per chunk of every document, each embedded with its siblings.

        Raises:
            InputError: names the document, and the chunk where the error is about one.
            BackendError: the model gave no vectors.
        """
        return [to_floats(rows) for rows in self.embedder.embed_documents(documents)]

    async def aembed_contexts(self, documents: Sequence[Sequence[str]]) -> list[list[list[float]]]:
        """Like `embed_contexts`, without blocking the event loop."""
        embedder = await self.aembedder()
        return [to_floats(rows) for rows in await embedder.aembed_documents(documents)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text, each embedded alone: texts of one call may be unrelated.

        Within a write of `ContextualVectorStore` these are the vectors that it has computed.
        """
        precomputed = self._precomputed(texts)
        if precomputed is not None:
            return precomputed
        return [
            to_floats(rows)[0]
            for rows in self.embedder.embed_documents([[text] for text in texts])
        ]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Like `embed_documents`, without blocking the event loop."""
        precomputed = self._precomputed(texts)
        if precomputed is not None:
            return precomputed
        embedder = await self.aembedder()
        return [
            to_floats(rows)[0]
            for rows in await embedder.aembed_documents([[text] for text in texts])
        ]

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
        if len(texts) > 1 and not self._opened.warned:
            self._opened.warned = True
            logger.warning(
                "embed_documents got %d texts and embeds each alone, without context. Hint: wrap "
                "the store in ContextualVectorStore, or call embed_contexts. (Said once.)",
                len(texts),
            )
        return None

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._opened = _Opened()  # noqa: SLF001 - its own class
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
