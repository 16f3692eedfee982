"""95 % intervals of means over queries, by drawing the documents anew.

Queries about one document rise and fall together, so documents are drawn and not queries: drawing
queries would give intervals that are too narrow. All columns get the same draws.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key", bound=Hashable)
Direction = Literal["up", "down", "unclear"]

DRAWS = 10_000
_LOW, _HIGH = 2.5, 97.5
_CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95 % interval; both ends are NaN with a single document, which has none."""

    value: float
    low: float
    high: float

    @property
    def direction(self) -> Direction:
        """Of a difference: "up" or "down" where the whole interval lies on one side of 0."""
        if self.low > 0:
            return "up"
        return "down" if self.high < 0 else "unclear"


def estimate(
    columns: Mapping[Key, NDArray[np.float64]], documents: Sequence[Hashable], *, seed: int = 0
) -> dict[Key, Estimate]:
    """Return the mean of each column, one value per query, with its interval.

    `documents` names the document of each query. The mean is over queries, in the draws too.
    """
    _, groups = np.unique(np.asarray(documents), return_inverse=True)
    counts = np.bincount(groups)
    sums = np.stack([np.bincount(groups, weights=column) for column in columns.values()], axis=1)
    values = sums.sum(axis=0) / counts.sum()
    if len(counts) == 1:
        low = high = np.full(len(values), np.nan)
    else:
        low, high = np.percentile(_draw(sums, counts, seed), [_LOW, _HIGH], axis=0)
    return {
        key: Estimate(*map(float, figures))
        for key, figures in zip(columns, zip(values, low, high, strict=True), strict=True)
    }


def _draw(sums: NDArray[Any], counts: NDArray[Any], seed: int) -> NDArray[Any]:
    """Return the means of each draw, shape (draws, columns)."""
    random = np.random.default_rng(seed)
    size = len(counts)
    step = max(1, _CELLS_AT_ONCE // size)
    drawn = []
    for start in range(0, DRAWS, step):
        # how often each document is drawn: as many draws as documents, with replacement
        times = random.multinomial(size, np.full(size, 1 / size), min(step, DRAWS - start))
        drawn.append((times @ sums) / (times @ counts)[:, None])
    return np.concatenate(drawn)
