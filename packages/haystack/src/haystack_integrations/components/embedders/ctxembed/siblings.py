# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""Which documents are siblings, in which order, and what of each is embedded.

Siblings are the chunks of one source. The functions here are pure, and shared by the embedder and
the writer. A document is known by its position in the call: equal texts and equal ids never
collapse, unless a splitter gave the same chunk twice.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal, TypeGuard, get_args
from uuid import UUID

from haystack import Document

from ctxembed import ConfigurationError, InputError, group
from ctxembed.lazy import has_text

MissingGroup = Literal["single", "error"]
BareNames = Literal["error", "allow"]

_WHOLE = (
    'Hint: give all its chunks in one call; partial="append" of the writer adds to what the store '
    "has."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which meta fields name the source of a chunk and count its chunks, and what is refused."""

    source_key: str
    order_key: str | None
    missing_group: MissingGroup
    bare_names: BareNames

    def check(self) -> None:
        """Refuse settings that would leave every document alone, or mean nothing."""
        check_choice("missing_group", self.missing_group, get_args(MissingGroup))
        check_choice("bare_names", self.bare_names, get_args(BareNames))
        check_field("source_key", self.source_key)
        if self.order_key is not None:
            check_field("order_key", self.order_key)


@dataclass(frozen=True, slots=True)
class Siblings:
    """The chunks of one source, as positions in the call, in the order of the source.

    `key` is the value of the source key, None for a document that stands alone. `source` is the
    name that errors and logs use: the key as text, or the id of the document. `problem` says what
    is wrong with the places of the chunks, None where they run from 0 without gaps, and `hint` what
    to do about it. With an `error` the chunks cannot be put together at all.
    """

    key: str | int | None
    source: str
    positions: list[int]
    problem: str | None = None
    hint: str = _WHOLE
    error: InputError | None = None


def check_field(name: str, field: object) -> None:
    """Refuse what is not the name of a field of meta."""
    if not isinstance(field, str) or not field or "." in field:
        raise ConfigurationError(
            f"{name} names one field of meta, got {field!r}. Hint: "
            'source_key="file_path", without "meta." and without a path into a field.'
        )


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is not one of the choices of a parameter."""
    if value not in choices:
        raise ConfigurationError(
            f"{name} is one of {', '.join(map(repr, choices))}, got {value!r}."
        )


def without_copies(
    documents: Sequence[Document], grouping: Grouping
) -> tuple[list[Document], list[int]]:
    """Return the documents without copies, and where each given document is among them.

    A copy is equal to another document and tells the same place in its source, or has no source:
    what a splitter gives where the same file is twice in a call. Equal chunks that tell no place
    are chunks of their own.
    """
    place_key = grouping.order_key or "split_id"
    first: dict[str, int] = {}
    distinct: list[Document] = []
    found = []
    for document in documents:
        number = first.get(document.id)
        placed = place_key in document.meta or grouping.source_key not in document.meta
        if number is None or not placed or distinct[number] != document:
            number = first[document.id] = len(distinct)
            distinct.append(document)
        found.append(number)
    return distinct, found


def with_text_source(document: Document, source_key: str) -> Document:
    """Return a document whose source is named by text where it was a path or a UUID."""
    name = document.meta.get(source_key)
    if not isinstance(name, PurePath | UUID):
        return document
    return replace(document, meta=document.meta | {source_key: str(name)})


def group_siblings(documents: Sequence[Document], grouping: Grouping) -> list[Siblings]:
    """Return the siblings among documents, first seen first; an error where there can be none.

    That is where the source is not named by text or a whole number, or by a file name that other
    files may have, where places cannot be compared or are taken twice, or, with
    `missing_group="error"`, where a document names no source.
    """
    source_key, order_key = grouping.source_key, grouping.order_key
    errors = [_key_error(document, grouping) for document in documents]
    keys = [
        None if error else document.meta.get(source_key)
        for document, error in zip(documents, errors, strict=True)
    ]
    found = []
    for positions in group((key, position) for position, key in enumerate(keys)).documents:
        first = positions[0]
        key = keys[first]
        if key is not None:
            error = _bare_name(key, grouping)
            found.append(
                Siblings(key, str(key), positions, error=error)
                if error
                else _in_order(key, positions, documents, order_key)
            )
            continue
        counted = order_key is not None and documents[first].meta.get(order_key) is not None
        problem = f"it has a {order_key} and no {source_key}" if counted else None
        hint = "Hint: source_key names a field that the chunks of one source share."
        found.append(Siblings(None, documents[first].id, positions, problem, hint, errors[first]))
    return found


def refuse_errors(groups: Iterable[Siblings]) -> None:
    """Raise the first error among siblings."""
    for siblings in groups:
        if siblings.error is not None:
            raise siblings.error


def check_documents(documents: object, component: str) -> None:
    """Refuse anything but a list of documents, with the `TypeError` that Haystack's own raise."""
    if not isinstance(documents, list) or not all(isinstance(d, Document) for d in documents):
        raise TypeError(f"{component} expects a list of Documents.")


def is_blank(text: str | None) -> bool:
    """Tell whether there is no text: nothing, or white space and NUL characters only."""
    return not text or not has_text(text)


def _key_error(document: Document, grouping: Grouping) -> InputError | None:
    key = document.meta.get(grouping.source_key)
    if key is None and grouping.missing_group == "error":
        return InputError(
            f"has no meta[{grouping.source_key!r}], so its siblings are unknown. Hint: a splitter "
            'sets source_id; missing_group="single" lets such documents stand alone.',
            key=document.id,
        )
    if key is None or (isinstance(key, str | int) and not isinstance(key, bool)):
        return None
    return InputError(
        f"meta[{grouping.source_key!r}] is a {type(key).__name__}. Hint: name a source by a "
        "string, a path, a UUID or a whole number.",
        key=document.id,
    )


def _bare_name(key: str | int, grouping: Grouping) -> InputError | None:
    """Return what is wrong with a file name: an update and another file of the name look alike."""
    bare = isinstance(key, str) and "/" not in key and "\\" not in key
    if grouping.source_key != "file_path" or grouping.bare_names == "allow" or not bare:
        return None
    return InputError(
        "its file_path has no folder, so another file of that name cannot be told from a new "
        "version of this one. Hint: store_full_path=True in the converter, and paths with a "
        'folder; bare_names="allow" in embedder and writer where no two files have one name.',
        key=str(key),
    )


def _in_order(
    key: str | int, positions: list[int], documents: Sequence[Document], order_key: str | None
) -> Siblings:
    if order_key is None:
        return Siblings(key, str(key), positions)
    places = [documents[position].meta.get(order_key) for position in positions]
    if all(place is None for place in places):
        unordered = f"no chunk has a {order_key} (order_key=None takes them as they come)"
        hint = "Hint: order_key=None in embedder and writer, or a splitter that counts its chunks."
        return Siblings(key, str(key), positions, unordered, hint)
    numbers = [place for place in places if _is_number(place)]
    if len(numbers) < len(places):
        other = next(place for place in places if not _is_number(place))
        error = InputError(
            f"{order_key} is a number for every chunk of a source, got "
            f"{'NaN' if isinstance(other, float) else type(other).__name__}. Hint: order_key names "
            "the field that counts the chunks; order_key=None takes them as they come.",
            key=str(key),
        )
        return Siblings(key, str(key), positions, error=error)
    taken, count = Counter(numbers).most_common(1)[0]
    if count > 1:
        error = InputError(
            f"{order_key} {taken} is one too many: {count} chunks that differ have it. Hint: give "
            "one version of a source in a call; where each part of a source counts from 0, "
            "order_key=None takes chunks as they come.",
            key=str(key),
        )
        return Siblings(key, str(key), positions, error=error)
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    problem = _problem([numbers[n] for n in order], order_key)
    return Siblings(key, str(key), [positions[n] for n in order], problem)


def _is_number(place: object) -> TypeGuard[float]:
    number = isinstance(place, int | float) and not isinstance(place, bool)
    return number and place == place  # noqa: PLR0124 - NaN is not equal to itself


def _problem(places: Sequence[float], order_key: str) -> str | None:
    """Return what is wrong with sorted places, None where they run from 0 without gaps."""
    for expected, place in enumerate(places):
        if place > expected:
            return f"{order_key} {expected} is missing"
        if place < expected:
            return f"{order_key} {place} is one too many"
    return None
