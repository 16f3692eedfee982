"""Whole documents given to a store that has a splitter: split on the way, chunks left as they are.

How a document is split is the business of `text_splitter`.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from langchain_core.documents import Document

from ctxembed import InputError
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.inner_splitter import Splitter
from langchain_ctxembed.metadata import CONTEXT_ID
from langchain_ctxembed.sibling_registry import ContextRegistry
from langchain_ctxembed.text_splitter import ContextualTextSplitter

StoreSplitter = Splitter | Literal["auto"] | None
"""A splitter for whole documents; "auto" is the default one, for the model; None leaves them."""


def splitter_for(
    splitter: StoreSplitter, embeddings: ContextualEmbeddings, registry: ContextRegistry
) -> ContextualTextSplitter | None:
    """Return the splitter as one that keeps context.

    Raises:
        ConfigurationError: it cannot split.
    """
    if splitter is None or isinstance(splitter, ContextualTextSplitter):
        return splitter
    inner = None if splitter == "auto" else splitter
    return ContextualTextSplitter(inner, embeddings=embeddings, registry=registry)


def split_whole(
    splitter: ContextualTextSplitter | None,
    documents: Iterable[Document],
    ids: Sequence[str] | None,
) -> list[Document]:
    """Return the chunks among the documents, then those of the documents that are whole.

    Raises:
        InputError: ids were given for documents that are yet to be split, or one cannot be split.
    """
    chunks, whole = _apart(splitter, documents, ids)
    return [*chunks, *splitter.split_documents(whole)] if splitter else chunks


async def asplit_whole(
    splitter: ContextualTextSplitter | None,
    documents: Iterable[Document],
    ids: Sequence[str] | None,
) -> list[Document]:
    """Like `split_whole`, without blocking the event loop."""
    chunks, whole = _apart(splitter, documents, ids)
    return [*chunks, *await splitter.atransform_documents(whole)] if splitter else chunks


def _apart(
    splitter: ContextualTextSplitter | None,
    documents: Iterable[Document],
    ids: Sequence[str] | None,
) -> tuple[list[Document], list[Document]]:
    """Return chunks and whole documents apart; without a splitter there are only chunks."""
    chunks: list[Document] = []
    whole: list[Document] = []
    for document in documents:
        is_chunk = splitter is None or CONTEXT_ID in document.metadata
        (chunks if is_chunk else whole).append(document)
    if whole and ids:
        raise InputError(
            f"ids are one per chunk, and {len(whole)} of the documents are yet to be split. Hint: "
            "leave ids out, or split first with ContextualTextSplitter (before index(), too)."
        )
    return chunks, whole
