"""The ways of giving a chunk its vector that the demo compares, and the neighbours' one itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ctxembed.encoding import normalize

WayName = Literal["independent", "contextual", "neighbours"]
Vectors = NDArray[np.float32]

NEIGHBOUR_SHARE = 0.5
"""What is added of the neighbours' mean: the share that did best in our measurements."""


@dataclass(frozen=True, slots=True)
class Way:
    """Unit vectors of every chunk, one array a document, and what they cost."""

    name: WayName
    vectors: list[Vectors]
    tokens: int
    seconds: float


def with_neighbours(rows: Vectors, share: float = NEIGHBOUR_SHARE) -> Vectors:
    """Return unit rows of a document with a share of the mean of each row's one or two neighbours.

    `rows` are unit vectors, shape (chunks, dimensions). A chunk alone stays as it is.
    """
    if len(rows) == 1:
        return rows
    around = np.zeros_like(rows)
    around[1:] += rows[:-1]
    around[:-1] += rows[1:]
    around[1:-1] /= 2
    return normalize(rows + np.float32(share) * around)
