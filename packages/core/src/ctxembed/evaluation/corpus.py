"""The data cut into chunks, and which chunks answer which query."""

from __future__ import annotations

from dataclasses import dataclass

from ctxembed.errors import InputError
from ctxembed.evaluation.dataset import Dataset, Query
from ctxembed.evaluation.relevance import relevant_pieces
from ctxembed.splitting import Count, pieces


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
    `queries`. `unanswered` counts the queries left out.
    """

    documents: list[list[Chunk]]
    queries: list[Query]
    relevant: list[list[int]]
    unanswered: int

    @property
    def texts(self) -> list[list[str]]:
        """The texts of the chunks of each document."""
        return [[chunk.text for chunk in document] for document in self.documents]

    @property
    def chunks(self) -> list[Chunk]:
        """All chunks in the order of their numbers."""
        return [chunk for document in self.documents for chunk in document]


def cut(data: Dataset, count: Count, chunk_tokens: int) -> Corpus:
    """Return a data set cut into chunks of up to `chunk_tokens` tokens.

    Raises:
        InputError: no query has a chunk that answers it.
    """
    documents = []
    places, first = {}, {}
    total = 0
    for document in data.documents:
        found = pieces(document.text, count, chunk_tokens)
        places[document.id], first[document.id] = found, total
        total += len(found)
        title = document.title or document.id
        documents.append(
            [Chunk(document.id, title, document.text[start:stop]) for start, stop in found]
        )
    queries, relevant = [], []
    for query in data.queries:
        numbers = relevant_pieces(places[query.document], query.spans)
        if numbers:
            queries.append(query)
            relevant.append([first[query.document] + number for number in numbers])
    if not queries:
        raise InputError("no query has a chunk that answers it. Hint: check the spans.")
    return Corpus(documents, queries, relevant, len(data.queries) - len(queries))
