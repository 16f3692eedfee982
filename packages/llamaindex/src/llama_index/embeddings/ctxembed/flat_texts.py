"""`FlatTexts`: what LlamaIndex asks of an embedding without documents: queries, and flat texts.

No flat list can be trusted to be one document, so each text is embedded alone.
"""

import logging
from abc import abstractmethod
from collections.abc import Sequence

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from ctxembed import Embedder, Settings, to_floats
from ctxembed.lazy import LazyEmbedder
from llama_index.embeddings.ctxembed.model_input import parser_named

logger = logging.getLogger(__name__)


class FlatTexts(BaseEmbedding):
    """An embedding whose embedder is opened on first use, and which embeds each text alone."""

    _embedder: LazyEmbedder = PrivateAttr(default_factory=LazyEmbedder)

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """What the embedder is opened with."""

    @abstractmethod
    def _key(self) -> str | None: ...

    def _open(self) -> Embedder:
        return self._embedder.get(self.settings, self._key())

    async def _aopen(self) -> Embedder:
        return await self._embedder.aget(self.settings, self._key())

    def _get_query_embedding(self, query: str) -> list[float]:
        return to_floats(self._open().embed_queries([query]))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        embedder = await self._aopen()
        return to_floats(await embedder.aembed_queries([query]))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self._warn_once(texts)
        with parser_named():
            arrays = self._open().embed_documents([[text] for text in texts])
        return [to_floats(rows)[0] for rows in arrays]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self._warn_once(texts)
        embedder = await self._aopen()
        with parser_named():
            arrays = await embedder.aembed_documents([[text] for text in texts])
        return [to_floats(rows)[0] for rows in arrays]

    def _warn_once(self, texts: Sequence[str]) -> None:
        if len(texts) > 1:
            self._embedder.warn_once(
                logger,
                "%d texts came without their documents and are embedded each alone, without "
                "context. Hint: transformations=[ContextualNodeParser(), embedding], with this "
                "embedding as embed_model too. (Said once.)",
                len(texts),
            )
