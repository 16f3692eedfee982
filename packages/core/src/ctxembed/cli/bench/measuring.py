"""Measuring one embedder: how many documents fit into the time, and how long they take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import perf_counter

import numpy as np

from ctxembed.cli.bench.core_waits import waited, waits
from ctxembed.cli.bench.documents import placed
from ctxembed.embedder import Embedder
from ctxembed.encoding import Array
from ctxembed.files.documents import Document
from ctxembed.planning import plan_documents
from ctxembed.recipe import document_recipe

Planned = tuple[Document, list[int]]
"""A document, and the tokens of each window that it goes through the model in."""

MOST_RUNS = 5
_TRIAL = 1 / 20
"""Share of the time that the last and longest trial takes at the least."""


@dataclass(slots=True)
class Chosen:
    """Documents, and the tokens of every window that they go through the model in."""

    documents: list[Sequence[str]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    @property
    def chunks(self) -> int:
        """All chunks of the documents."""
        return sum(map(len, self.documents))

    @property
    def tokens(self) -> int:
        """What the model will read: separators, overlaps, prefixes and second passes included."""
        return sum(self.lengths)


@dataclass(frozen=True, slots=True)
class Timed:
    """The codes of all chunks in order, and the seconds of the fastest of some runs.

    `waited` are the seconds that threads waited for a core in that run, all of them together; None
    where nobody tells.
    """

    codes: Array
    seconds: float
    runs: int
    tokens: int
    waited: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run over some documents: its seconds, the tokens read, the rows, and seconds waited."""

    seconds: float
    tokens: int
    rows: list[Array]
    waited: float | None


def choose(
    embedder: Embedder, documents: Iterator[Document], *, seconds: float, data: Path | None = None
) -> tuple[Chosen, float]:
    """Return as many of the first documents as fit into the time, one at least; and their seconds.

    The seconds are an estimate, from trials that double until one takes long enough.

    Raises:
        InputError: a document can't be embedded; the message names it.
    """
    planned = ((each, window_lengths(embedder, each, data)) for each in documents)
    pace, tried = _pace(embedder, planned, seconds * _TRIAL)
    chosen = Chosen()
    for document, lengths in chain(tried, planned):
        if chosen.documents and (chosen.tokens + sum(lengths)) / pace > seconds:
            break
        chosen.documents.append(document.chunks)
        chosen.lengths += lengths
    return chosen, chosen.tokens / pace


def _pace(
    embedder: Embedder, planned: Iterator[Planned], least: float
) -> tuple[float, list[Planned]]:
    """Return tokens a second, and the documents taken to find out."""
    taken: list[Planned] = []
    present, wanted = 0, 1
    while True:
        while present < wanted and (each := next(planned, None)):
            taken.append(each)
            present += len(each[0].chunks)
        trial = _timed(embedder, _first([each for each, _ in taken], wanted))
        if trial.seconds >= least or present < wanted:
            return trial.tokens / trial.seconds, taken
        wanted *= 2


def _first(documents: Sequence[Document], chunks: int) -> list[Sequence[str]]:
    """Return documents cut off after so many chunks in all."""
    found: list[Sequence[str]] = []
    for document in documents:
        if chunks <= 0:
            break
        found.append(document.chunks[:chunks])
        chunks -= len(document.chunks)
    return found


def window_lengths(embedder: Embedder, document: Document, data: Path | None = None) -> list[int]:
    """Return the tokens of each window that a document goes through the model in."""
    recipe = document_recipe(embedder.settings, embedder.backend)
    (planned,) = plan_documents(embedder.backend, recipe, [tuple(document.chunks)])
    if planned.error is not None:
        raise placed(planned.error, document, data)
    before = recipe.prefix.count if recipe.prefix else 0
    return [window.tokens + before for window in planned.windows]


def measure(embedder: Embedder, chosen: Chosen, *, seconds: float) -> Timed:
    """Embed the documents, and again while another run fits into the time; the fastest counts."""
    start = perf_counter()
    best = _timed(embedder, chosen.documents)
    runs = 1
    while runs < MOST_RUNS and perf_counter() - start + best.seconds <= seconds:
        run = _timed(embedder, chosen.documents)
        best = min(best, run, key=lambda each: each.seconds)
        runs += 1
    return Timed(np.concatenate(best.rows), best.seconds, runs, best.tokens, best.waited)


def _timed(embedder: Embedder, documents: Sequence[Sequence[str]]) -> Run:
    tokens, before = embedder.usage.tokens, waits()
    start = perf_counter()
    rows = embedder.embed_documents(documents)
    seconds = perf_counter() - start
    return Run(seconds, embedder.usage.tokens - tokens, rows, waited(before, waits()))
