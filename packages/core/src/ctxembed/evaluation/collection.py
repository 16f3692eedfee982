"""`Collection`: documents, and queries with the passages that answer them. Plain values.

`folders` reads one from files, `simulated` and `headings` make queries for documents that have
none, and `corpus` cuts one into chunks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Span = tuple[int, int]
"""A passage of a text: `[start, stop)` in characters."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be cut into chunks."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """A question and the passages that answer it, by the id of their document.

    A query without answers can be asked, and has no figures.
    """

    id: str
    text: str
    answers: Mapping[str, tuple[Span, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Documents and queries; `source` says where they are from, and names the licence.

    `whole` says that answers are documents and not passages: then documents are ranked, each at the
    place of its best chunk. `simulated` describes how queries were made that nobody asked, and is
    empty where somebody did. `own` marks the collection that comes with the package.
    """

    name: str
    source: str
    documents: tuple[Document, ...]
    queries: tuple[Query, ...] = ()
    whole: bool = False
    simulated: str = ""
    own: bool = False
