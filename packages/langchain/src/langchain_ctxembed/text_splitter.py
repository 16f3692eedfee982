"""`ContextualTextSplitter`: any LangChain splitter, one document at a time, its chunks stamped.

The inner splitter decides where texts are cut. What belongs together is decided here.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_text_splitters import RecursiveCharacterTextSplitter

from ctxembed import InputError, group, sibling_fingerprint
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.metadata import SOURCE, SOURCE_ID, first_name
from langchain_ctxembed.sibling_registry import REGISTRY, ContextRegistry
from langchain_ctxembed.siblings import stamp_context

CHUNK_TOKENS = 128
"""Tokens in a chunk of the default splitter: the shorter it is, the more its siblings can tell."""

_CHARACTERS_PER_TOKEN = 4
_COUNTS = 2**16
"""Counts of tokens that are remembered within one call."""


class ContextualTextSplitter(BaseDocumentTransformer):
    """Splits documents and writes into every chunk's metadata which chunks are its siblings.

    `context_id`, `context_index`, `context_size` and a `source_id` are added; other metadata stays.
    The siblings are registered in this process, so that a `ContextualVectorStore` may be handed the
    chunks in any slices.

    Args:
        splitter: Any `TextSplitter` or other document transformer. The default cuts at paragraphs,
            lines, sentences and words, into chunks of up to 128 tokens without overlap.
        embeddings: Their fingerprint becomes part of `context_id`, so that `index()` embeds
            everything again when the model, its dimensions or windows change. The default splitter
            counts tokens as they do. Without them it takes four characters for one token.
        context_by: Documents with the same value of this metadata key (or of this function) make
            up one context, in order: for instance the pages of a file. Without it, and for a
            document without the key, every document is a context of its own.
        source_id_key: The metadata key that stays the same when a document is edited. Where it
            is not set, or empty, it gets the value of `context_by`, the metadata's `source`, the
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
        self._splitter = splitter
        self._embeddings = embeddings
        self._context_by = context_by
        self._source_id_key = source_id_key
        self._registry = registry

    def transform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> Sequence[Document]:
        """Return the stamped chunks, context by context, in the order of the documents."""
        contexts = group((self._context(each, n), each) for n, each in enumerate(documents))
        splitter = self._splitter or _default_splitter(self._embeddings)
        fingerprint = None if self._embeddings is None else self._embeddings.fingerprint
        chunks: list[Document] = []
        for key, parents in zip(contexts.keys, contexts.documents, strict=True):
            split = (splitter.transform_documents([parent], **kwargs) for parent in parents)
            chunks += stamp_context(
                chain.from_iterable(split),
                source_id=self._source_id(parents[0], key),
                fingerprint=fingerprint,
                source_id_key=self._source_id_key,
                registry=self._registry,
            )
        return chunks

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """Like `transform_documents`, under the name that text splitters have for it."""
        return list(self.transform_documents(list(documents)))

    def _context(self, document: Document, number: int) -> Hashable:
        """Return what a document is joined by, None where it stands alone."""
        by = self._context_by
        key = by(document) if callable(by) else document.metadata.get(by)
        try:
            hash(key)
        except TypeError:
            raise InputError(
                f"the value of context_by is a {type(key).__name__}. Hint: text or a number.",
                document=number,
            ) from None
        return key

    def _source_id(self, document: Document, key: Hashable) -> str:
        metadata = document.metadata
        name = first_name(
            metadata.get(self._source_id_key), key, metadata.get(SOURCE), document.id
        )
        return name or sibling_fingerprint([document.page_content])


def _default_splitter(embeddings: ContextualEmbeddings | None) -> BaseDocumentTransformer:
    """Return a splitter for one call. It remembers the count of every text that it asks about."""

    @lru_cache(_COUNTS)
    def count(text: str) -> int:
        if embeddings is None:
            return -(-len(text) // _CHARACTERS_PER_TOKEN)
        return embeddings.embedder.backend.tokenize([text])[0].count

    return RecursiveCharacterTextSplitter(
        separators=["\n\n", "\n", ". ", "? ", "! ", " ", ""],
        keep_separator="end",
        chunk_size=CHUNK_TOKENS,
        chunk_overlap=0,
        length_function=count,
    )
