# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""Which chunks of a source have text and are embedded, and what their documents come back with.

Chunks without text go through without a vector: splitters make them, and they are nobody's error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from haystack import Document

from ctxembed import EmbedError
from haystack_integrations.components.embedders.ctxembed.siblings import (
    Grouping,
    Siblings,
    is_blank,
)

CONTEXT_SIZE = "context_size"
"""The meta field with the number of chunks of a source that have text, as the embedder saw them.

A document that has it and no embedding is one that the embedder failed on.
"""
SOURCE_KEY = "context_source_key"
"""The meta field with the name of the field by which the embedder knew sources."""
ORDER_KEY = "context_order_key"
"""The meta field with the name of the field by which it ordered them; not there for none."""


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """What of a document is embedded: meta fields and content, between a prefix and a suffix.

    With `meta_once` the meta fields are put before the first chunk of a source only.
    """

    meta_fields: Sequence[str]
    separator: str
    meta_once: bool
    prefix: str
    suffix: str

    def body(self, document: Document, number: int) -> str:
        """Return the text of the chunk with this number in its source, without what surrounds."""
        fields = [] if number and self.meta_once else self.meta_fields
        values = [document.meta[name] for name in fields if document.meta.get(name) is not None]
        return self.separator.join([*map(str, values), document.content or ""])

    def around(self, body: str) -> str:
        """Return a text with prefix and suffix; an empty string where there is no text."""
        return self.prefix + body + self.suffix if body.strip() else ""


@dataclass(frozen=True, slots=True)
class SourceChunks:
    """The chunks of one source that are embedded, and those that are blank.

    `numbers` counts the embedded ones among all chunks of the source, from 0; `texts` has what is
    embedded of each.
    """

    siblings: Siblings
    numbers: list[int]
    texts: list[str] = field(repr=False)

    @property
    def positions(self) -> list[int]:
        """The positions in the call of the chunks that are embedded."""
        return [self.siblings.positions[number] for number in self.numbers]

    @property
    def blank(self) -> int:
        """How many chunks have no text."""
        return len(self.siblings.positions) - len(self.numbers)

    def located(self, error: EmbedError) -> EmbedError:
        """Return an error with its chunk counted among all chunks of the source."""
        return error if error.chunk is None else error.at(chunk=self.numbers[error.chunk])


def chunks_of(
    siblings: Siblings, documents: Sequence[Document], template: TextTemplate, *, keep_blank: bool
) -> SourceChunks:
    """Return what is embedded of a source: all its chunks, or those with text."""
    bodies = [
        template.body(documents[position], number)
        for number, position in enumerate(siblings.positions)
    ]
    numbers = [n for n, body in enumerate(bodies) if keep_blank or not is_blank(body)]
    return SourceChunks(siblings, numbers, [template.around(bodies[n]) for n in numbers])


@contextmanager
def chunks_located(sources: Sequence[SourceChunks]) -> Iterator[None]:
    """Count the chunk of an error among all chunks of its source."""
    try:
        yield
    except EmbedError as error:
        if error.document is None or error.chunk is None:
            raise
        raise sources[error.document].located(error) from error.__cause__


def with_rows(
    documents: Sequence[Document],
    sources: Sequence[SourceChunks],
    rows: dict[int, list[float]],
    grouping: Grouping,
) -> list[Document]:
    """Return new documents with their embeddings, and with what a writer needs in meta.

    That is how the embedder knew sources, and the size of the document's own. A document without
    text comes back without embedding and size.
    """
    sizes = {position: len(each.numbers) for each in sources for position in each.positions}
    keys = {SOURCE_KEY: grouping.source_key, ORDER_KEY: grouping.order_key}
    return [
        replace(
            document,
            embedding=rows.get(n),
            meta=_stamped(document.meta, keys | {CONTEXT_SIZE: sizes.get(n)}),
        )
        for n, document in enumerate(documents)
    ]


def _stamped(meta: dict[str, Any], stamps: dict[str, Any]) -> dict[str, Any]:
    others = {name: value for name, value in meta.items() if name not in stamps}
    return others | {name: value for name, value in stamps.items() if value is not None}
