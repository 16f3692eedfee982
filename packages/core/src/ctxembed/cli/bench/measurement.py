"""The measurement of one embedder: how many documents fit into the time, and how long they take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from time import perf_counter

import numpy as np

from ctxembed.cli.bench.core_waits import waited, waits
from ctxembed.cli.bench.documents import placed
from ctxembed.cli.bench.timer import fastest
from ctxembed.embedder import Embedder
from ctxembed.encoding import Array
from ctxembed.files.documents import Document
from ctxembed.planning import plan_documents
from ctxembed.recipe import document_recipe

Planned = tuple[Document, list[int]]
"""A document, and the tokens of each window in which it goes through the model."""

MOST_RUNS = 5
_TRIAL = 1 / 20
"""The last and longest trial takes at least this share of the time."""


@dataclass(slots=True)
class Sample:
    """The documents that are measured, and the tokens of each of their windows."""

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
class Run:
    """One run over some documents: the seconds, the tokens read, and the rows of each document.

    `waited` is the time in seconds that threads waited for a core, all of them together; None where
    it is not known. Of several runs this is the fastest of `runs`.
    """

    seconds: float
    tokens: int
    rows: list[Array]
    waited: float | None
    runs: int = 1

    @property
    def codes(self) -> Array:
        """The rows of all chunks, in order."""
        return np.concatenate(self.rows)


def choose(
    embedder: Embedder, documents: Iterator[Document], *, seconds: float, data: Path | None = None
) -> tuple[Sample, float]:
    """Return as many of the first documents as fit into the time, at least one; and their seconds.

    The seconds are an estimate, from trials that double until one takes long enough.

    Raises:
        InputError: a document cannot be embedded; the message names it.
    """
    planned = ((each, window_lengths(embedder, each, data)) for each in documents)
    pace, tried = _pace(embedder, planned, seconds * _TRIAL)
    sample = Sample()
    for document, lengths in chain(tried, planned):
        if sample.documents and (sample.tokens + sum(lengths)) / pace > seconds:
            break
        sample.documents.append(document.texts)
        sample.lengths += lengths
    return sample, sample.tokens / pace


def _pace(
    embedder: Embedder, planned: Iterator[Planned], least: float
) -> tuple[float, list[Planned]]:
    """Return tokens per second, and the documents that were read to find out."""
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
        found.append(document.texts[:chunks])
        chunks -= len(document.chunks)
    return found


def window_lengths(embedder: Embedder, document: Document, data: Path | None = None) -> list[int]:
    """Return the tokens of each window in which a document goes through the model."""
    recipe = document_recipe(embedder.settings, embedder.backend)
    (planned,) = plan_documents(embedder.backend, recipe, [tuple(document.chunks)])
    if planned.error is not None:
        raise placed(planned.error, document, data)
    before = recipe.prefix.count if recipe.prefix else 0
    return [window.tokens + before for window in planned.windows]


def measure(embedder: Embedder, sample: Sample, *, seconds: float) -> Run:
    """Embed the documents as often as fits into the time, at least once; return the fastest run."""
    best, runs = fastest(
        lambda: _timed(embedder, sample.documents),
        lambda run: run.seconds,
        within=seconds,
        most=MOST_RUNS,
    )
    return replace(best, runs=runs)


def _timed(embedder: Embedder, documents: Sequence[Sequence[str]]) -> Run:
    tokens, before = embedder.usage.tokens, waits()
    start = perf_counter()
    rows = embedder.embed_documents(documents)
    seconds = perf_counter() - start
    return Run(seconds, embedder.usage.tokens - tokens, rows, waited(before, waits()))
