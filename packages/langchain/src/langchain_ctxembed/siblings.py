"""Contexts: which chunks are siblings, written into metadata and found again.

`stamp_context` writes, `find_contexts` reads and checks. Nothing is guessed: a chunk whose siblings
aren't all known is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from langchain_core.documents import Document

from ctxembed import EmbedError, InputError, sibling_fingerprint
from langchain_ctxembed.metadata import CONTEXT_ID, CONTEXT_INDEX, CONTEXT_SIZE, SOURCE, SOURCE_ID
from langchain_ctxembed.registry import REGISTRY, ContextRegistry

Ungrouped = Literal["independent", "error"]
"""What becomes of documents without a context: each is embedded alone, or none is."""

Key = tuple[str | int, int]
"""A context's id and size; the id of a chunk without any is its number."""

_SPLIT = "Hint: split with ContextualTextSplitter, or give stamp_context all chunks of a document."


@dataclass(frozen=True, slots=True)
class Contexts:
    """The contexts that a call is about, each whole and once, and the place of every chunk in them.

    `partial` has the numbers of those that the call itself holds only a part of; `sources` has the
    name of every chunk's source.
    """

    documents: list[list[str]] = field(repr=False)
    positions: list[tuple[int, int]]
    partial: set[int]
    sources: list[str | None] = field(repr=False)

    @contextmanager
    def located(self, numbers: Sequence[int]) -> Iterator[None]:
        """Give an error about the contexts of these numbers a chunk's place in the call and source."""
        try:
            yield
        except EmbedError as error:
            places = [number for number, _ in self.positions]
            if error.document is not None:
                error.document = places.index(numbers[error.document])
                error.key = self.sources[error.document]
            if error.last_document is not None:
                error.last_document = places.index(numbers[error.last_document])
                last = self.sources[error.last_document]
                error.add_note(f"Documents are counted by chunk: {error.key!r} to {last!r}.")
            raise


def stamp_context(
    chunks: Iterable[Document],
    *,
    source_id: str,
    fingerprint: str | None = None,
    source_id_key: str = SOURCE_ID,
    registry: ContextRegistry = REGISTRY,
) -> list[Document]:
    """Return the chunks of one document, in order, with their context in the metadata.

    For chunks that were made, or changed, without `ContextualTextSplitter`. The siblings are
    registered, so that a store may be handed the chunks in slices. A source id that a chunk already
    has stays.

    Raises:
        InputError: a chunk has a `context_id` that isn't one of these, and would be lost.
    """
    chunks = list(chunks)
    texts = [chunk.page_content for chunk in chunks]
    context = sibling_fingerprint(texts)
    if fingerprint is not None:
        context = sibling_fingerprint([context, fingerprint])
    registry.register(context, texts)
    stamped = []
    for index, chunk in enumerate(chunks):
        if CONTEXT_ID in chunk.metadata and CONTEXT_SIZE not in chunk.metadata:
            message = (
                f"has a {CONTEXT_ID} of another kind. Hint: give that metadata key another name."
            )
            raise InputError(message, document=index, key=source_id)
        place = {CONTEXT_ID: context, CONTEXT_INDEX: index, CONTEXT_SIZE: len(chunks)}
        metadata = {source_id_key: source_id} | chunk.metadata | place
        if metadata[source_id_key] in (None, ""):
            metadata[source_id_key] = source_id
        stamped.append(chunk.model_copy(update={"metadata": metadata}))
    return stamped


def find_contexts(
    chunks: Sequence[Document], registry: ContextRegistry, ungrouped: Ungrouped
) -> Contexts:
    """Return the contexts of the chunks of a call, as registered or as the call has them whole.

    Raises:
        InputError: a context is neither registered nor whole in the call, or chunks contradict it.
    """
    places = [_place(chunk, number, ungrouped) for number, chunk in enumerate(chunks)]
    parts: dict[Key, dict[int, int]] = {}
    for number, (chunk, (key, index)) in enumerate(zip(chunks, places, strict=True)):
        first = parts.setdefault(key, {}).setdefault(index, number)
        if chunks[first].page_content != chunk.page_content:
            message = (
                f"another chunk of the call has its {CONTEXT_ID} and {CONTEXT_INDEX}. {_SPLIT}"
            )
            raise InputError(message, document=number, key=_source(chunk))
    numbers = {key: number for number, key in enumerate(parts)}
    return Contexts(
        documents=[_whole(key, part, chunks, registry) for key, part in parts.items()],
        positions=[(numbers[key], index) for key, index in places],
        partial={numbers[key] for key, part in parts.items() if len(part) < key[1]},
        sources=[_source(chunk) for chunk in chunks],
    )


def _source(chunk: Document) -> str | None:
    """Return what an error calls a chunk's document: its source id, its source, or the chunk's id."""
    known = (chunk.metadata.get(SOURCE_ID), chunk.metadata.get(SOURCE), chunk.id)
    return next((str(value) for value in known if value not in (None, "")), None)


def _place(chunk: Document, number: int, ungrouped: Ungrouped) -> tuple[Key, int]:
    """Return a chunk's context and its index there; without any, a context of its own."""
    metadata, source = chunk.metadata, _source(chunk)
    if CONTEXT_ID not in metadata:
        if ungrouped == "error":
            raise InputError(f"has no {CONTEXT_ID}. {_SPLIT}", document=number, key=source)
        return (number, 1), 0
    context, index, size = (metadata.get(k) for k in (CONTEXT_ID, CONTEXT_INDEX, CONTEXT_SIZE))
    if not isinstance(context, str) or not isinstance(index, int) or not isinstance(size, int):
        raise InputError(
            f"its {CONTEXT_ID}, {CONTEXT_INDEX} or {CONTEXT_SIZE} is of the wrong type. {_SPLIT}",
            document=number,
            key=source,
        )
    if not 0 <= index < size:
        message = f"its {CONTEXT_INDEX} isn't below its {CONTEXT_SIZE}."
        raise InputError(message, document=number, key=source)
    return (context, size), index


def _whole(
    key: Key, part: dict[int, int], chunks: Sequence[Document], registry: ContextRegistry
) -> list[str]:
    """Return all siblings of a context: as registered if the call fits in, or from the call.

    A whole document that isn't what was registered is refused as well: its chunks carry the id of
    other siblings, by which `index()` would keep them when they are stale.
    """
    context, size = str(key[0]), key[1]
    texts = {index: chunks[number].page_content for index, number in part.items()}
    first = min(part.values())
    siblings = registry.get(context) if isinstance(key[0], str) else None
    if siblings is None and len(texts) == size:
        return [texts[index] for index in range(size)]
    if siblings is None:
        message = (
            f"the call has {len(texts)} of the {size} chunks of its document, and nobody here knows the "
            "others. Hint: add the document whole, split it in this process, or raise the max_bytes "
            "of the registry."
        )
        raise InputError(message, document=first, key=_source(chunks[first]))
    if len(siblings) != size or any(siblings[index] != text for index, text in texts.items()):
        message = (
            "it isn't what its document was split into. Hint: after changing chunks, give "
            "stamp_context all chunks of the document."
        )
        raise InputError(message, document=first, key=_source(chunks[first]))
    return list(siblings)
