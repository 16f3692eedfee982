"""`ContextualTextSplitter`: any LangChain splitter, one document at a time, its chunks stamped.

Where texts are cut is the inner splitter's business; what belongs together is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any

from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ctxembed import InputError, sibling_fingerprint
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.metadata import SOURCE, SOURCE_ID
from langchain_ctxembed.registry import REGISTRY, ContextRegistry
from langchain_ctxembed.siblings import stamp_context

CHUNK_TOKENS = 128
"""Tokens in a chunk of the default splitter: the shorter, the more its siblings have to say."""

_CHARACTERS_A_TOKEN = 4


class ContextualTextSplitter(BaseDocumentTransformer):
    """Splits documents and writes into every chunk's metadata which chunks are its siblings.

    `context_id`, `context_index`, `context_size` and a `source_id` are added; other metadata stays.
    The siblings are registered in this process, so that a `ContextualVectorStore` may be handed the
    chunks in any slices.

    Args:
        splitter: Any `TextSplitter` or other document transformer. The default cuts at paragraphs,
            lines, sentences and words, 128 tokens a chunk, without overlap.
        embeddings: Their fingerprint becomes part of `context_id`, so that `index()` embeds all
            again when the model, its dimensions or windows change. The default splitter counts
            tokens as they do; without them it takes four characters for one.
        context_by: Documents with the same value of this metadata key (or of this function) make
            up one context, in order: the pages of a file, say. Without it, or for a document
            without the key, every document is a context of its own.
        source_id_key: The metadata key that stays the same when a document is edited. Where it
            isn't set, or empty, it gets the value of `context_by`, the metadata's `source`, the
            document's id, or a hash of its text: the first of these that there is.
        registry: Where siblings are registered.
    """

    def __init__(
        self,
        splitter: BaseDocumentTransformer | None = None,
        *,
        embeddings: ContextualEmbeddings | None = None,
        context_by: str | Callable[[Document], Hashable] | None = None,
        source_id_key: str = SOURCE_ID,
        registry: ContextRegistry = REGISTRY,
    ) -> None:
        self._splitter = splitter or _default_splitter(embeddings)
        self._embeddings = embeddings
        self._context_by = context_by
        self._source_id_key = source_id_key
        self._registry = registry

    def transform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> Sequence[Document]:
        """Return the stamped chunks, context by context, in the order of the documents."""
        contexts: dict[tuple[bool, Hashable], list[Document]] = {}
        for number, document in enumerate(documents):
            key = self._context(document)
            if not _is_hashable(key):
                kind = type(key).__name__
                message = f"what it is to be joined by is a {kind}. Hint: text or a number."
                raise InputError(message, document=number)
            alone = key is None
            contexts.setdefault((alone, number if alone else key), []).append(document)
        fingerprint = None if self._embeddings is None else self._embeddings.fingerprint
        return [
            chunk
            for parents in contexts.values()
            for chunk in stamp_context(
                self._split(parents, kwargs),
                source_id=self._source_id(parents[0]),
                fingerprint=fingerprint,
                source_id_key=self._source_id_key,
                registry=self._registry,
            )
        ]

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """Like `transform_documents`, under the name that text splitters have for it."""
        return list(self.transform_documents(list(documents)))

    def _split(self, parents: list[Document], options: dict[str, Any]) -> list[Document]:
        return [
            chunk
            for parent in parents
            for chunk in self._splitter.transform_documents([parent], **options)
        ]

    def _context(self, document: Document) -> Hashable | None:
        if callable(self._context_by):
            return self._context_by(document)
        return None if self._context_by is None else document.metadata.get(self._context_by)

    def _source_id(self, document: Document) -> str:
        given = document.metadata
        known = (
            given.get(self._source_id_key),
            self._context(document),
            given.get(SOURCE),
            document.id,
        )
        for value in known:
            if value is not None and value != "":
                return str(value)
        return sibling_fingerprint([document.page_content])


def _is_hashable(key: object) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def _count(embeddings: ContextualEmbeddings | None, text: str) -> int:
    if embeddings is None:
        return -(-len(text) // _CHARACTERS_A_TOKEN)
    return embeddings.embedder.backend.tokenize([text])[0].count


def _default_splitter(embeddings: ContextualEmbeddings | None) -> BaseDocumentTransformer:
    return RecursiveCharacterTextSplitter(
        separators=["\n\n", "\n", ". ", "? ", "! ", " ", ""],
        keep_separator="end",
        chunk_size=CHUNK_TOKENS,
        chunk_overlap=0,
        length_function=partial(_count, embeddings),
    )
