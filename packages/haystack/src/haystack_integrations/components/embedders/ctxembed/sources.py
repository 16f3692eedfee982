# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""Which documents are chunks of one source, in which order, and what of each is embedded.

Pure functions over Haystack documents, shared by the embedder and the writer. Positions in the call
are the identity of a document: equal texts and equal ids never collapse.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from haystack import Document

from ctxembed import InputError, group

MissingGroup = Literal["single", "error"]


@dataclass(frozen=True, slots=True)
class Source:
    """The chunks of one source, as positions in the call, in the order of the source.

    `key` is None for a document that stands alone, and `name` is then its id. `problem` says what is
    wrong with the places of the chunks, None where they run from 0 without gaps.
    """

    key: Hashable
    name: str
    positions: list[int]
    problem: str | None


def sources_of(
    documents: Sequence[Document],
    *,
    source_key: str,
    order_key: str | None,
    missing_group: MissingGroup,
) -> list[Source]:
    """Return the sources in first-seen order.

    :raises InputError: a source that can't be a key, places that can't be compared, or with
        `missing_group="error"` a document without a source.
    """
    keys = [_key_of(document, source_key, missing_group) for document in documents]
    groups = group((key, "") for key in keys)
    members: list[list[int]] = [[] for _ in groups.keys]
    for position, (number, _) in enumerate(groups.positions):
        members[number].append(position)
    return [
        _in_order(key, positions, documents, order_key)
        for key, positions in zip(groups.keys, members, strict=True)
    ]


def check_documents(documents: object, component: str) -> None:
    """Refuse anything but a list of documents, with the `TypeError` that Haystack's own raise."""
    if isinstance(documents, list) and all(isinstance(item, Document) for item in documents):
        return
    message = f"{component} expects a list of Documents."
    raise TypeError(message)


def text_of(
    document: Document, fields: Iterable[str], separator: str, prefix: str, suffix: str
) -> str:
    """Return what is embedded of a document; without any text of its own, an empty string."""
    values = [str(document.meta[name]) for name in fields if document.meta.get(name) is not None]
    body = separator.join([*values, document.content or ""])
    return prefix + body + suffix if body.strip() else ""


def _key_of(document: Document, source_key: str, missing_group: MissingGroup) -> Hashable:
    key = document.meta.get(source_key)
    if key is None and missing_group == "error":
        message = (
            f"has no meta[{source_key!r}], so its siblings are unknown. Hint: a splitter sets "
            'source_id; missing_group="single" lets such documents stand alone.'
        )
        raise InputError(message, key=document.id)
    if not isinstance(key, Hashable):
        message = (
            f"meta[{source_key!r}] is a {type(key).__name__}. Hint: name a source by a string."
        )
        raise InputError(message, key=document.id)
    return key


def _in_order(
    key: Hashable, positions: list[int], documents: Sequence[Document], order_key: str | None
) -> Source:
    if key is None:
        return Source(None, documents[positions[0]].id, positions, None)
    if order_key is None:
        return Source(key, str(key), positions, None)
    places = [documents[position].meta.get(order_key) for position in positions]
    if all(place is None for place in places):
        return Source(key, str(key), positions, f"no chunk has a {order_key}")
    numbers = [_number(place, key, order_key) for place in places]
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    problem = _problem([numbers[n] for n in order], order_key)
    return Source(key, str(key), [positions[n] for n in order], problem)


def _number(place: object, key: Hashable, order_key: str) -> float:
    if isinstance(place, int | float) and not isinstance(place, bool):
        return place
    message = (
        f"{order_key} is a number for every chunk of a source, got {type(place).__name__}. Hint: "
        "order_key names the field that counts the chunks; order_key=None takes them as they come."
    )
    raise InputError(message, key=str(key))


def _problem(places: Sequence[float], order_key: str) -> str | None:
    for expected, place in enumerate(places):
        if place > expected:
            return f"{order_key} {expected} is missing"
        if place < expected:
            return f"{order_key} {place} is one too many"
    return None
