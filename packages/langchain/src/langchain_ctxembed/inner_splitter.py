"""The splitter that `ContextualTextSplitter` cuts texts with: any of LangChain's, or the default.

Some of LangChain's splitters are no document transformers (those for Markdown and HTML headers).
Here they all become a function from one document to its chunks.
"""

import json
from functools import lru_cache
from typing import Any, Protocol

from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_text_splitters import RecursiveCharacterTextSplitter, RecursiveJsonSplitter

from ctxembed import ConfigurationError, InputError
from ctxembed.lazy import usual_chunk_tokens
from langchain_ctxembed.embeddings import ContextualEmbeddings

DEFAULT_CHUNK_TOKENS = 64
"""Tokens in a chunk where no model is known: several of them fit into the smallest window."""

_CHARACTERS_PER_TOKEN = 4
_COUNTS = 2**16
"""Counts of tokens that are remembered within one call."""


class HeaderSplitter(Protocol):
    """A splitter without `transform_documents`, for instance `MarkdownHeaderTextSplitter`."""

    def split_text(self, text: str) -> list[Document] | list[str]:
        """Return the chunks of a text."""


Splitter = BaseDocumentTransformer | HeaderSplitter | RecursiveJsonSplitter


def check_splitter(splitter: object) -> None:
    """Refuse what cannot split a document.

    Raises:
        ConfigurationError: it has neither `transform_documents` nor `split_text`, or is a class.
    """
    methods = ("transform_documents", "split_text")
    if isinstance(splitter, type) or not any(hasattr(splitter, name) for name in methods):
        kind = "the class" if isinstance(splitter, type) else "an object of"
        name = (splitter if isinstance(splitter, type) else type(splitter)).__name__
        raise ConfigurationError(
            f"splitter is a text splitter of LangChain, got {kind} {name}. Hint: "
            "ContextualTextSplitter(RecursiveCharacterTextSplitter(...), embeddings=embeddings)."
        )


def split_document(splitter: Splitter, document: Document, **options: Any) -> list[Document]:
    """Return the chunks of a document; `options` are for `transform_documents`.

    Raises:
        InputError: the document has a lone surrogate, or the splitter is one for JSON, and the
            document is none.
    """
    try:
        document.page_content.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"has a lone surrogate at character {error.start}: that is not Unicode text."
        ) from None
    if isinstance(splitter, BaseDocumentTransformer):
        return [*splitter.transform_documents([document], **options)]
    text = document.page_content
    found: list[Document] | list[str]
    if isinstance(splitter, RecursiveJsonSplitter):
        found = splitter.split_text(_parsed(text), convert_lists=True)
    else:
        found = splitter.split_text(text)
    return [_chunk(each, document) for each in found]


def default_splitter(embeddings: ContextualEmbeddings | None) -> BaseDocumentTransformer:
    """Return a splitter for one call. It remembers the count of every text that it asks about.

    Its chunks have the usual size for the model of the embeddings.
    """
    embedder = None if embeddings is None else embeddings.embedder

    @lru_cache(_COUNTS)
    def count(text: str) -> int:
        if embedder is None:
            return -(-len(text) // _CHARACTERS_PER_TOKEN)
        return embedder.backend.tokenize([text])[0].count

    most = DEFAULT_CHUNK_TOKENS
    if embedder is not None:
        most = usual_chunk_tokens(embedder.settings, embedder.backend.spec)
    return RecursiveCharacterTextSplitter(
        separators=["\n\n", "\n", ". ", "? ", "! ", " ", ""],
        keep_separator="end",
        chunk_size=most,
        chunk_overlap=0,
        length_function=count,
    )


def _parsed(text: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(text)
    except ValueError:
        raise InputError("is not JSON, and its splitter splits JSON.") from None
    return parsed


def _chunk(found: Document | str, document: Document) -> Document:
    if isinstance(found, str):
        found = Document(page_content=found)
    return found.model_copy(update={"metadata": document.metadata | found.metadata})
