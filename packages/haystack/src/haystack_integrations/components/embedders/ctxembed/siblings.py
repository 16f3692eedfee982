# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""Which documents are chunks of one source, in which order, and what of each is embedded.

Pure functions over Haystack documents, shared by the embedder and the writer. Positions in the call
are the identity of a document: equal texts and equal ids never collapse.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard, get_args

from haystack import Document

from ctxembed import ConfigurationError, InputError, group

MissingGroup = Literal["single", "error"]


@dataclass(frozen=True, slots=True)
class Source:
    """The chunks of one source, as positions in the call, in the order of the source.

    `key` is None for a document that stands alone, and `name` is then its id. `problem` says what is
    wrong with the places of the chunks, None where they run from 0 without gaps. With an `error` the
    source can't be put together at all.
    """

    key: str | int | None
    name: str
    positions: list[int]
    problem: str | None = None
    error: InputError | None = None


def check_grouping(source_key: str, order_key: str | None, missing_group: str) -> None:
    """Refuse settings that would leave every document alone, or mean nothing."""
    check_choice("missing_group", missing_group, get_args(MissingGroup))
    for name, field in (("source_key", source_key), ("order_key", order_key)):
        if name == "order_key" and field is None:
            continue
        if not isinstance(field, str) or not field or "." in field:
            message = (
                f"{name} names one field of meta, got {field!r}. Hint: "
                'source_key="file_path", without "meta." and without a path into a field.'
            )
            raise ConfigurationError(message)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is not one of the choices of a parameter."""
    if value not in choices:
        message = f"{name} is one of {', '.join(map(repr, choices))}, got {value!r}."
        raise ConfigurationError(message)


def sources_of(
    documents: Sequence[Document],
    *,
    source_key: str,
    order_key: str | None,
    missing_group: MissingGroup,
) -> list[Source]:
    """Return the sources in first-seen order; what can't be put together has its error.

    That is a source that is no name, places that can't be compared, or with `missing_group="error"` a
    document without a source.
    """
    errors = [_key_error(document, source_key, missing_group) for document in documents]
    keys = [
        None if error else document.meta.get(source_key)
        for document, error in zip(documents, errors, strict=True)
    ]
    groups = group((key, "") for key in keys)
    members: list[list[int]] = [[] for _ in groups.keys]
    for position, (number, _) in enumerate(groups.positions):
        members[number].append(position)
    sources = []
    for positions in members:
        first = positions[0]
        key = keys[first]
        if key is None:
            sources.append(_alone(documents[first], first, source_key, order_key, errors[first]))
        else:
            sources.append(_in_order(key, positions, documents, order_key))
    return sources


def refuse_errors(sources: Iterable[Source]) -> None:
    """Raise the error of the first source that has one."""
    for source in sources:
        if source.error is not None:
            raise source.error


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


def _key_error(
    document: Document, source_key: str, missing_group: MissingGroup
) -> InputError | None:
    key = document.meta.get(source_key)
    if key is None and missing_group == "error":
        message = (
            f"has no meta[{source_key!r}], so its siblings are unknown. Hint: a splitter sets "
            'source_id; missing_group="single" lets such documents stand alone.'
        )
        return InputError(message, key=document.id)
    if key is None or (isinstance(key, str | int) and not isinstance(key, bool)):
        return None
    message = (
        f"meta[{source_key!r}] is a {type(key).__name__}. Hint: name a source by a string or a whole "
        "number."
    )
    return InputError(message, key=document.id)


def _alone(
    document: Document,
    position: int,
    source_key: str,
    order_key: str | None,
    error: InputError | None,
) -> Source:
    counted = order_key is not None and document.meta.get(order_key) is not None
    problem = f"it has a {order_key} and no {source_key}" if counted else None
    return Source(None, document.id, [position], problem, error)


def _in_order(
    key: str | int, positions: list[int], documents: Sequence[Document], order_key: str | None
) -> Source:
    if order_key is None:
        return Source(key, str(key), positions)
    places = [documents[position].meta.get(order_key) for position in positions]
    if all(place is None for place in places):
        unordered = f"no chunk has a {order_key} (order_key=None takes them as they come)"
        return Source(key, str(key), positions, unordered)
    numbers = [place for place in places if _is_number(place)]
    if len(numbers) < len(places):
        return Source(key, str(key), positions, error=_place_error(places, key, order_key))
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    problem = _problem([numbers[n] for n in order], order_key)
    return Source(key, str(key), [positions[n] for n in order], problem)


def _is_number(place: object) -> TypeGuard[float]:
    number = isinstance(place, int | float) and not isinstance(place, bool)
    return number and place == place  # noqa: PLR0124 - NaN is not equal to itself


def _place_error(places: Sequence[object], key: str | int, order_key: str) -> InputError:
    kind = next(
        "NaN" if isinstance(place, float) else type(place).__name__
        for place in places
        if not _is_number(place)
    )
    message = (
        f"{order_key} is a number for every chunk of a source, got {kind}. Hint: "
        "order_key names the field that counts the chunks; order_key=None takes them as they come."
    )
    return InputError(message, key=str(key))


def _problem(places: Sequence[float], order_key: str) -> str | None:
    for expected, place in enumerate(places):
        if place > expected:
            return f"{order_key} {expected} is missing"
        if place < expected:
            return f"{order_key} {place} is one too many"
    return None
