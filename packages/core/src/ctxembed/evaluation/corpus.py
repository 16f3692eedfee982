"""A data set cut into chunks, and which chunks answer which query."""

from dataclasses import dataclass

from ctxembed.errors import InputError
from ctxembed.evaluation.dataset import Dataset, Query
from ctxembed.evaluation.relevance import Span, relevant_pieces
from ctxembed.splitting import Tokenize, splitter


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


def cut(data: Dataset, tokenize: Tokenize, chunk_tokens: int) -> Corpus:
    """Return a data set cut into chunks of up to `chunk_tokens` tokens.

    Raises:
        InputError: no query has a chunk that answers it.
    """
    split = splitter(tokenize, chunk_tokens)
    documents: list[list[Chunk]] = []
    places: dict[str, list[Span]] = {}
    first: dict[str, int] = {}
    for document in data.documents:
        pieces = split(document.text)
        places[document.id] = [(piece.start, piece.stop) for piece in pieces]
        first[document.id] = sum(map(len, documents))
        title = document.title or document.id
        documents.append([Chunk(document.id, title, piece.chunk.text) for piece in pieces])
    answers = [
        (query, relevant_pieces(places[query.document], query.spans)) for query in data.queries
    ]
    queries = [query for query, numbers in answers if numbers]
    if not queries:
        raise InputError("no query has a chunk that answers it. Hint: check the spans.")
    relevant = [
        [first[query.document] + number for number in numbers]
        for query, numbers in answers
        if numbers
    ]
    return Corpus(documents, queries, relevant, len(data.queries) - len(queries))
