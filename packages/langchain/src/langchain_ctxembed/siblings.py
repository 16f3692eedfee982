"""Which chunks are siblings: `stamp_context` writes it into metadata, `group_siblings` reads it.

Nothing is guessed: a chunk is refused where its siblings are not all known. What is embedded for a
write is decided in `write_plan`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from langchain_core.documents import Document

from ctxembed import InputError, sibling_fingerprint
from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.metadata import (
    CHUNK_ID,
    CONTEXT_ID,
    CONTEXT_INDEX,
    CONTEXT_SIZE,
    SOURCE,
    SOURCE_ID,
    first_name,
)
from langchain_ctxembed.sibling_registry import REGISTRY, ContextRegistry

Ungrouped = Literal["independent", "error"]
"""What becomes of a chunk without a context: it is embedded alone, or it is an error."""

Key = tuple[str | int, int]
"""The id and the size of a context; a chunk without a context has its own number as id."""

_SPLIT = "Hint: split with ContextualTextSplitter, or give stamp_context all chunks of a document."


@dataclass(frozen=True, slots=True)
class SiblingGroups:
    """The documents of a call, each whole and once, and the place of every chunk in them.

    `documents` has the texts of the siblings. `positions` has one (document, index) pair per chunk
    of the call. `partial` has the numbers of the documents of which the call holds only a part.
    """

    documents: list[list[str]] = field(repr=False)
    positions: list[tuple[int, int]]
    partial: set[int]


def stamp_context(
    chunks: Iterable[Document],
    *,
    source_id: str,
    embeddings: ContextualEmbeddings | None = None,
    fingerprint: str | None = None,
    source_id_key: str = SOURCE_ID,
    registry: ContextRegistry = REGISTRY,
) -> list[Document]:
    """Return the chunks of one document, in order, with their context in the metadata.

    This is for chunks that were made, or changed, without `ContextualTextSplitter`. The siblings
    are registered, so that a store may be handed the chunks in slices. A source id that a chunk
    already has stays. With `embeddings`, their fingerprint becomes part of the context, so that
    `index()` embeds everything again when it changes; `fingerprint` is another way to give it.

    Raises:
        InputError: a chunk has a `context_id` of another kind, which would be lost.
    """
    chunks = list(chunks)
    texts = [chunk.page_content for chunk in chunks]
    context = sibling_fingerprint(texts)
    if embeddings is not None:
        fingerprint = embeddings.fingerprint
    if fingerprint is not None:
        context = sibling_fingerprint([context, fingerprint])
    registry.register(context, texts)
    stamped = []
    for index, chunk in enumerate(chunks):
        if CONTEXT_ID in chunk.metadata and CONTEXT_SIZE not in chunk.metadata:
            raise InputError(
                f"has a {CONTEXT_ID} of another kind. Hint: give that metadata key another name.",
                document=index,
                key=source_id,
                noun="Chunk",
            )
        place = {CONTEXT_ID: context, CONTEXT_INDEX: index, CONTEXT_SIZE: len(chunks)}
        metadata = {source_id_key: source_id} | chunk.metadata | place
        if metadata[source_id_key] in (None, ""):
            metadata[source_id_key] = source_id
        row = [str(metadata[source_id_key]), context, str(index)]
        metadata[CHUNK_ID] = sibling_fingerprint(row)
        stamped.append(chunk.model_copy(update={"metadata": metadata}))
    return stamped


def register_chunks(
    chunks: Iterable[Document], *, registry: ContextRegistry = REGISTRY
) -> list[Document]:
    """Register the siblings of stamped chunks, and return the chunks.

    This is for chunks that were split in another process: `index()` hands a store slices of a
    document, and the store looks up here what the other chunks are.

    Raises:
        InputError: the chunks of a document are not all there, or contradict each other.
    """
    chunks = [*chunks]
    groups = group_siblings(chunks, registry, "independent")
    contexts = {
        chunk.metadata[CONTEXT_ID]: number
        for chunk, (number, _) in zip(chunks, groups.positions, strict=True)
        if CONTEXT_ID in chunk.metadata
    }
    for context, number in contexts.items():
        registry.register(context, groups.documents[number])
    return chunks


def group_siblings(
    chunks: Sequence[Document], registry: ContextRegistry, ungrouped: Ungrouped
) -> SiblingGroups:
    """Return the documents of the chunks of a call, as registered or as the call has them whole.

    Raises:
        InputError: a document is neither registered nor whole in the call, or chunks contradict it.
    """
    places = [_place(chunk, number, ungrouped) for number, chunk in enumerate(chunks)]
    groups: dict[Key, dict[int, int]] = {}
    for number, (chunk, (key, index)) in enumerate(zip(chunks, places, strict=True)):
        first = groups.setdefault(key, {}).setdefault(index, number)
        if chunks[first].page_content != chunk.page_content:
            raise _error(
                f"another chunk of the call has its {CONTEXT_ID} and {CONTEXT_INDEX}. {_SPLIT}",
                number,
                chunk,
            )
    numbers = {key: number for number, key in enumerate(groups)}
    return SiblingGroups(
        documents=[_whole(key, members, chunks, registry) for key, members in groups.items()],
        positions=[(numbers[key], index) for key, index in places],
        partial={numbers[key] for key, members in groups.items() if len(members) < key[1]},
    )


def source_name(chunk: Document) -> str | None:
    """Return what errors call a chunk's document: its source id, its source, or the chunk's id."""
    return first_name(chunk.metadata.get(SOURCE_ID), chunk.metadata.get(SOURCE), chunk.id)


def _place(chunk: Document, number: int, ungrouped: Ungrouped) -> tuple[Key, int]:
    """Return a chunk's context and its index there; without a context, one of its own."""
    metadata = chunk.metadata
    if CONTEXT_ID not in metadata:
        if ungrouped == "error":
            raise _error(f"has no {CONTEXT_ID}. {_SPLIT}", number, chunk)
        return (number, 1), 0
    context = metadata[CONTEXT_ID]
    if not isinstance(context, str):
        raise _error(
            f"its {CONTEXT_ID} is of type {type(context).__name__}, not text. {_SPLIT}",
            number,
            chunk,
        )
    index, size = (_whole_number(key, number, chunk) for key in (CONTEXT_INDEX, CONTEXT_SIZE))
    if not 0 <= index < size:
        raise _error(f"its {CONTEXT_INDEX} is not below its {CONTEXT_SIZE}.", number, chunk)
    return (context, size), index


def _whole_number(key: str, number: int, chunk: Document) -> int:
    """Return the value of a metadata key; stores give whole numbers back as floats, too."""
    value = chunk.metadata.get(key)
    if isinstance(value, int | float | np.integer | np.floating) and float(value).is_integer():
        return int(value)
    raise _error(
        f"its {key} is of type {type(value).__name__}, not a whole number. {_SPLIT}", number, chunk
    )


def _error(message: str, number: int, chunk: Document) -> InputError:
    """Return an error about a chunk of a call, counted from 0."""
    return InputError(message, document=number, key=source_name(chunk), noun="Chunk")


def _whole(
    key: Key, members: dict[int, int], chunks: Sequence[Document], registry: ContextRegistry
) -> list[str]:
    """Return the texts of all siblings: as registered, or from the call where it has them all.

    A whole document that differs from what was registered is refused too. Its chunks carry the id
    of other siblings, and `index()` would keep them by that id when they are stale.
    """
    context, size = key
    texts = {index: chunks[number].page_content for index, number in members.items()}
    first = min(members.values())
    siblings = registry.get(context) if isinstance(context, str) else None
    if siblings is None:
        if len(texts) == size:
            return [texts[index] for index in range(size)]
        raise _error(
            f"the call has {len(texts)} of the {size} chunks of its document, and the others are "
            "not known here. Hint: add the document whole, give register_chunks all chunks that "
            "were split in another process, or raise the max_bytes of the registry.",
            first,
            chunks[first],
        )
    if len(siblings) != size or any(siblings[index] != text for index, text in texts.items()):
        raise _error(
            "it is not what its document was split into. Hint: after changing chunks, give "
            "stamp_context all chunks of the document.",
            first,
            chunks[first],
        )
    return list(siblings)
