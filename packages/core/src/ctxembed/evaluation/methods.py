"""The methods that the demo compares, each of which gives a chunk its vector; and their vectors."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ctxembed.encoding import normalize

Method = Literal["independent", "contextual", "neighbours"]
Vectors = NDArray[np.float32]

NEIGHBOUR_SHARE = 0.5
"""The share of the neighbours' mean that is added: it did best in our measurements."""


@dataclass(frozen=True, slots=True)
class MethodVectors:
    """Unit vectors of every chunk by one method, one array per document, and what they cost."""

    name: Method
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
