"""Which chunks are siblings: `stamp_context` writes it into metadata, `group_siblings` reads it.

Nothing is guessed: a chunk is refused where its siblings are not all known. What is embedded for a
write is decided in `write_plan`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from langchain_core.documents import Document

from ctxembed import InputError, sibling_fingerprint
from langchain_ctxembed.metadata import (
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
    fingerprint: str | None = None,
    source_id_key: str = SOURCE_ID,
    registry: ContextRegistry = REGISTRY,
) -> list[Document]:
    """Return the chunks of one document, in order, with their context in the metadata.

    This is for chunks that were made, or changed, without `ContextualTextSplitter`. The siblings
    are registered, so that a store may be handed the chunks in slices. A source id that a chunk
    already has stays.

    Raises:
        InputError: a chunk has a `context_id` of another kind, which would be lost.
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
            raise InputError(
                f"has a {CONTEXT_ID} of another kind. Hint: give that metadata key another name.",
                document=index,
                key=source_id,
            )
        place = {CONTEXT_ID: context, CONTEXT_INDEX: index, CONTEXT_SIZE: len(chunks)}
        metadata = {source_id_key: source_id} | chunk.metadata | place
        if metadata[source_id_key] in (None, ""):
            metadata[source_id_key] = source_id
        stamped.append(chunk.model_copy(update={"metadata": metadata}))
    return stamped


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
            raise InputError(
                f"another chunk of the call has its {CONTEXT_ID} and {CONTEXT_INDEX}. {_SPLIT}",
                document=number,
                key=source_name(chunk),
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
            raise InputError(
                f"has no {CONTEXT_ID}. {_SPLIT}", document=number, key=source_name(chunk)
            )
        return (number, 1), 0
    context, index, size = (metadata.get(k) for k in (CONTEXT_ID, CONTEXT_INDEX, CONTEXT_SIZE))
    if not isinstance(context, str) or not isinstance(index, int) or not isinstance(size, int):
        raise InputError(
            f"its {CONTEXT_ID}, {CONTEXT_INDEX} or {CONTEXT_SIZE} is of the wrong type. {_SPLIT}",
            document=number,
            key=source_name(chunk),
        )
    if not 0 <= index < size:
        raise InputError(
            f"its {CONTEXT_INDEX} is not below its {CONTEXT_SIZE}.",
            document=number,
            key=source_name(chunk),
        )
    return (context, size), index


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
        raise InputError(
            f"the call has {len(texts)} of the {size} chunks of its document, and the others are "
            "not known here. Hint: add the document whole, split it in this process, or raise the "
            "max_bytes of the registry.",
            document=first,
            key=source_name(chunks[first]),
        )
    if len(siblings) != size or any(siblings[index] != text for index, text in texts.items()):
        raise InputError(
            "it is not what its document was split into. Hint: after changing chunks, give "
            "stamp_context all chunks of the document.",
            document=first,
            key=source_name(chunks[first]),
        )
    return list(siblings)
