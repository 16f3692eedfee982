"""The result of a comparison: plain values for the terminal, the report and programs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxembed.evaluation.intervals import Estimate
from ctxembed.evaluation.metrics import Metric

Figures = dict[Metric, Estimate]

Provenance = tuple[tuple[str, str], ...]
"""What was run, with what and on what: pairs of name and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run's figures, their differences to the first run, and what it costs.

    `tokens`, `seconds` and `bytes_per_chunk` are those of the `Run`, and `settings` what tells it
    from others. `best` says that no other run has a higher nDCG@10 for as few tokens and as few
    stored bytes.
    """

    name: str
    settings: tuple[tuple[str, str], ...]
    figures: Figures
    gain: Figures
    chunks: int
    tokens: int
    seconds: float | None
    bytes_per_chunk: float
    best: bool

    @property
    def label(self) -> str:
        """The name, or the settings where there is none."""
        return self.name or ", ".join(f"{name} {value}" for name, value in self.settings)

    @property
    def stored_bytes(self) -> float:
        """What all chunks take."""
        return self.chunks * self.bytes_per_chunk


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that stood first: the title of its document, its text, and whether it answers."""

    title: str
    text: str
    relevant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A query whose first hit answers it with context and not without, or the other way round."""

    query: str
    title: str
    before: Hit
    after: Hit

    @property
    def helped(self) -> bool:
        """Whether context is what put an answering chunk first."""
        return self.after.relevant


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How many queries context helped, hurt, or gave another first hit as good; and examples."""

    helped: int
    hurt: int
    other: int
    examples: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Cosines of each chunk of one document with each other, without and with context."""

    title: str
    independent: NDArray[np.float32]
    contextual: NDArray[np.float32]

    @property
    def neighbours(self) -> tuple[float, float]:
        """The mean cosine of a chunk and the next one, without and with context."""
        return _mean(np.diagonal(self.independent, 1)), _mean(np.diagonal(self.contextual, 1))

    @property
    def others(self) -> tuple[float, float]:
        """The mean cosine of chunks further apart, without and with context."""
        apart = np.triu_indices(len(self.independent), 2)
        return _mean(self.independent[apart]), _mean(self.contextual[apart])


def _mean(values: NDArray[np.float32]) -> float:
    """Return the mean, NaN of no values."""
    return float(values.mean()) if values.size else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that is printed and reported of some runs.

    `verdict` has a line for each thing that is said. `simulated` says how queries were made that
    nobody asked, empty where somebody did. `beyond` is what the neighbours' run has more than the
    contextual one. Where there is no contextual run, `beyond`, `changes` and `heat_map` are None.
    `unanswered` queries had no relevant chunk in one of the runs, and are left out of all.
    """

    collection: str
    documents: int
    queries: int
    unanswered: int
    simulated: str
    runs: tuple[RunResult, ...]
    beyond: Figures | None
    changes: Changes | None
    heat_map: HeatMap | None
    verdict: str
    provenance: Provenance

    @property
    def chunks(self) -> int:
        """How many chunks the first run has."""
        return self.runs[0].chunks

    @property
    def methods(self) -> tuple[RunResult, ...]:
        """The runs that have a name: the methods, without the settings of a sweep."""
        return tuple(each for each in self.runs if each.name)
