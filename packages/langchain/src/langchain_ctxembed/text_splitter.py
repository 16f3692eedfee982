"""`ContextualTextSplitter`: any LangChain splitter, one document at a time, its chunks stamped.

The inner splitter decides where texts are cut. What belongs together is decided here.
"""

import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from ctxembed import ConfigurationError, InputError, group, sibling_fingerprint
from ctxembed.lazy import has_text
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.inner_splitter import (
    Splitter,
    check_splitter,
    default_splitter,
    split_document,
)
from langchain_ctxembed.metadata import SOURCE, SOURCE_ID, chunks_of, first_name
from langchain_ctxembed.sibling_registry import REGISTRY, ContextRegistry
from langchain_ctxembed.siblings import source_name, stamp_context

logger = logging.getLogger(__name__)

Errors = Literal["raise", "skip"]
"""What becomes of a document that cannot be embedded as it is."""

_NAMES = 5
"""How many sources a message names."""


class ContextualTextSplitter(TextSplitter):
    """Splits documents and writes into every chunk's metadata which chunks are its siblings.

    `context_id`, `context_index`, `context_size`, `chunk_id` and a `source_id` are added; other
    metadata stays. The siblings are registered in this process, so that a `ContextualVectorStore`
    may be handed the chunks in any slices.

    Chunks without text (empty, white space, NUL only) are left out before the others are counted;
    one warning per call says how many, and of which sources. `emptied` has the source ids of the
    documents of the last call that gave no chunk at all; `failures` has the errors of the documents
    that it left out; the `key` of each is the source.

    Args:
        splitter: Any splitter of LangChain. The default cuts at paragraphs, lines, sentences and
            words, without overlap, into chunks of up to a quarter of the model's window, and of up
            to 256 tokens (without `embeddings`, of up to 64).
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
        errors: A document that cannot be embedded as it is (a chunk is longer than the model
            takes, a lone surrogate) raises an `InputError`, here or when it is stored. With "skip"
            it is found here, logged, listed in `failures` and left out whole, and the others go
            on. This needs `embeddings`, which count the tokens of every chunk. What is wrong with a
            model, a key or a network is raised in either case.

    Raises:
        ConfigurationError: `errors` is something else, or "skip" without `embeddings`, or
            `splitter` cannot split.
    """

    def __init__(
        self,
        splitter: Splitter | None = None,
        *,
        embeddings: ContextualEmbeddings | None = None,
        context_by: str | Callable[[Document], Hashable] | None = None,
        source_id_key: str = SOURCE_ID,
        registry: ContextRegistry = REGISTRY,
        errors: Errors = "raise",
    ) -> None:
        if errors not in get_args(Errors):
            raise ConfigurationError(f"errors is one of 'raise', 'skip', got {errors!r}.")
        if errors == "skip" and embeddings is None:
            raise ConfigurationError(
                'errors="skip" has to count tokens. Hint: give the splitter embeddings=, those '
                "that the store is built on."
            )
        if splitter is not None:
            check_splitter(splitter)
        super().__init__()
        self.emptied: list[str] = []
        self.failures: list[InputError] = []
        self._errors = errors
        self._splitter = splitter
        self._embeddings = embeddings
        self._context_by = context_by
        self._source_id_key = source_id_key
        self._registry = registry

    def transform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> Sequence[Document]:
        """Return the stamped chunks, context by context, in the order of the documents.

        Raises:
            InputError: a document that cannot be split or stamped; `key` is its source.
        """
        self.emptied, self.failures = [], []
        emptied: list[str] = []
        failures: list[InputError] = []
        splitter = self._inner()
        fingerprint = None if self._embeddings is None else self._embeddings.fingerprint
        chunks: list[Document] = []
        blank: list[str] = []
        for key, numbers in self._contexts(documents, failures):
            parents = [documents[number] for number in numbers]
            source = self._source_id(parents[0], key)
            try:
                split = _split(parents, splitter, **kwargs)
                texts = [each for each in split if has_text(each.page_content)]
                self._check(texts)
                chunks += stamp_context(
                    texts,
                    source_id=source,
                    fingerprint=fingerprint,
                    source_id_key=self._source_id_key,
                    registry=self._registry,
                )
            except InputError as error:
                place = error.at(document=numbers[0], key=source, noun="Document")
                self._failed(place, failures)
            else:
                blank += [source] * (len(split) - len(texts))
                emptied += [source] * (not texts)
        _report_blank(blank)
        self.emptied, self.failures = emptied, failures
        return chunks

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """Like `transform_documents`, under the name that text splitters have for it."""
        return list(self.transform_documents(list(documents)))

    def create_documents(
        self, texts: list[str], metadatas: list[dict[Any, Any]] | None = None
    ) -> list[Document]:
        """Like `transform_documents`: every text, with its metadata, is a document."""
        return self.split_documents(chunks_of(texts, metadatas))

    def split_text(self, text: str) -> list[str]:
        """Return the texts that the inner splitter makes of a text, without their context."""
        document = Document(page_content=text)
        return [each.page_content for each in split_document(self._inner(), document)]

    def _inner(self) -> Splitter:
        return self._splitter or default_splitter(self._embeddings)

    def _contexts(
        self, documents: Sequence[Document], failures: list[InputError]
    ) -> Iterator[tuple[Hashable, list[int]]]:
        """Yield what documents are joined by, None where one stands alone, and their numbers."""
        keyed = []
        for number, document in enumerate(documents):
            try:
                keyed.append((self._context(document), number))
            except InputError as error:
                self._failed(error.at(document=number, key=source_name(document)), failures)
        contexts = group(keyed)
        yield from zip(contexts.keys, contexts.documents, strict=True)

    def _context(self, document: Document) -> Hashable:
        by = self._context_by
        key = by(document) if callable(by) else document.metadata.get(by)
        try:
            hash(key)
        except TypeError:
            raise InputError(
                f"the value of context_by is a {type(key).__name__}. Hint: text or a number."
            ) from None
        return key

    def _check(self, chunks: Sequence[Document]) -> None:
        """With "skip", raise what would keep the chunks from being embedded."""
        if self._errors == "skip" and self._embeddings is not None and chunks:
            texts = [chunk.page_content for chunk in chunks]
            (error,) = self._embeddings.embedder.check_documents([texts])
            if error is not None:
                raise error

    def _failed(self, error: InputError, failures: list[InputError]) -> None:
        if self._errors == "raise":
            raise error from error.__cause__
        logger.warning("Left out: %s", error)
        failures.append(error)

    def _source_id(self, document: Document, key: Hashable) -> str:
        metadata = document.metadata
        name = first_name(
            metadata.get(self._source_id_key), key, metadata.get(SOURCE), document.id
        )
        return name or sibling_fingerprint([document.page_content])


def _split(parents: Sequence[Document], splitter: Splitter, **options: Any) -> list[Document]:
    """Return the chunks of documents; one without text that gives none is its own blank chunk."""
    chunks: list[Document] = []
    for parent in parents:
        found = split_document(splitter, parent, **options)
        chunks += found or [parent] * (not has_text(parent.page_content))
    return chunks


def _report_blank(sources: Sequence[str]) -> None:
    """Log, once per call, how many chunks have no text, and of which sources they are."""
    names = [*dict.fromkeys(sources)]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    if names:
        logger.warning(
            "Chunks without text, left out: %d, of %s%s.",
            *(len(sources), ", ".join(map(repr, names[:_NAMES])), more),
        )
