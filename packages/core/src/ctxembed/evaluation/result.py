"""The result of the demo: plain values for the terminal, the report and tests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxembed.evaluation.intervals import Estimate
from ctxembed.evaluation.methods import Method
from ctxembed.evaluation.metrics import Metric

Figures = dict[Metric, Estimate]

Provenance = tuple[tuple[str, str], ...]
"""What was run, with what and on what: pairs of name and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """One method's figures, their differences to independent, and what it cost.

    `tokens` is what the model read, separators and second passes included; `seconds` is embedding
    the chunks, loading and queries left out.
    """

    name: Method
    figures: Figures
    gain: Figures
    tokens: int
    seconds: float


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
class DemoResult:
    """Everything that is printed and reported.

    `beyond` is what the neighbours' method has more than the contextual one. Where the model embeds
    each chunk alone (`context_weight` 0) there is no contextual method, and `beyond`, `changes` and
    `heat_map` are None. `unanswered` queries had no relevant chunk and are left out.
    """

    dataset: str
    documents: int
    queries: int
    unanswered: int
    chunks: int
    methods: tuple[MethodResult, ...]
    beyond: Figures | None
    changes: Changes | None
    heat_map: HeatMap | None
    verdict: str
    provenance: Provenance
