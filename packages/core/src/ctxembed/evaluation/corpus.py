"""A collection cut into chunks, and which chunks answer which query."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ctxembed.documents import has_text
from ctxembed.errors import InputError
from ctxembed.evaluation.collection import Collection, Document, Query, Span
from ctxembed.evaluation.relevance import relevant_pieces

if TYPE_CHECKING:
    from ctxembed.splitting import Tokenize

Split = Callable[[Document], Iterable[str | Span]]
"""Cuts a document into chunks, in order: texts as they stand in it, or where they stand."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk's text, and the id and title of its document."""

    document: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents as chunks, and the queries that have an answer among them.

    Chunks are numbered through all documents: `relevant` has the numbers that answer each of
    `queries`, and `places` where each chunk stands in the text of its document. Queries without
    such a chunk are left out; where none has labels, all stay.
    """

    collection: Collection
    documents: list[list[Chunk]]
    places: list[Span]
    queries: list[Query]
    relevant: list[list[int]]

    @property
    def texts(self) -> list[list[str]]:
        """The texts of the chunks of each document."""
        return [[chunk.text for chunk in document] for document in self.documents]

    @property
    def chunks(self) -> list[Chunk]:
        """All chunks in the order of their numbers."""
        return [chunk for document in self.documents for chunk in document]


def cut(collection: Collection, split: Split) -> Corpus:
    """Return a collection cut into chunks by any splitter; chunks without text are left out.

    Chunks may overlap. A chunk given as a text has to stand in its document, behind the start of
    the chunk before it.

    Raises:
        InputError: a chunk is not in its document, a query's document is not there, or no query has
            a chunk that answers it.
    """
    documents: list[list[Chunk]] = []
    places: list[Span] = []
    numbers: dict[str, range] = {}
    for document in collection.documents:
        found = _places(document, split(document))
        numbers[document.id] = range(len(places), len(places) + len(found))
        places += found
        title = document.title or document.id
        chunks = [Chunk(document.id, title, document.text[start:stop]) for start, stop in found]
        documents += [chunks] if chunks else []
    for query in collection.queries:
        if unknown := query.answers.keys() - numbers:
            raise InputError(f"query {query.id!r} has an answer in {min(unknown)!r}: no document.")
    answers = [
        [
            numbers[name][piece]
            for name, spans in query.answers.items()
            for piece in relevant_pieces([places[number] for number in numbers[name]], spans)
        ]
        for query in collection.queries
    ]
    labelled = any(query.answers for query in collection.queries)
    both = zip(collection.queries, answers, strict=True)
    kept = [(query, found) for query, found in both if found or not labelled]
    if collection.queries and not kept:
        raise InputError("no query has a chunk that answers it. Hint: check the spans.")
    return Corpus(
        collection,
        documents,
        places,
        [query for query, _ in kept],
        [found for _, found in kept],
    )


def by_tokens(tokenize: "Tokenize", chunk_tokens: int) -> Split:
    """Return a function that cuts documents at sentences, into up to `chunk_tokens` tokens each."""
    from ctxembed.splitting import splitter

    split = splitter(tokenize, chunk_tokens)
    return lambda document: [(piece.start, piece.stop) for piece in split(document.text)]


def _places(document: Document, chunks: Iterable[str | Span]) -> list[Span]:
    """Return where the chunks of a document stand; a text is looked for from the last one on."""
    found: list[Span] = []
    after = 0
    for number, chunk in enumerate(chunks):
        if isinstance(chunk, str):
            start = document.text.find(chunk, after)
            stop = start + len(chunk)
        else:
            start, stop = chunk
        if not 0 <= start <= stop <= len(document.text):
            raise InputError(
                "is not in the text of its document. Hint: give chunks in order and unchanged.",
                key=document.id,
                chunk=number,
            )
        if has_text(document.text[start:stop]):
            found.append((start, stop))
            after = start + 1
    return found
