"""The methods that the demo compares, each of which gives a chunk its vector; and their vectors."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ctxembed.encoding import mix, neighbour_directions

Method = Literal["independent", "contextual", "neighbours"]
Vectors = NDArray[np.float32]

NEIGHBOUR_WEIGHT = 0.5
"""How much of the neighbours' mean direction is added: it did best in our measurements."""


@dataclass(frozen=True, slots=True)
class MethodVectors:
    """Unit vectors of every chunk by one method, one array per document, and what they cost."""

    name: Method
    vectors: list[Vectors]
    tokens: int
    seconds: float


def with_neighbours(rows: Vectors) -> Vectors:
    """Return what `context_weight=0` and `neighbour_weight=0.5` make of independent unit rows.

    `rows` are the chunks of one document, shape (chunks, dimensions). A chunk alone stays as it is.
    """
    if len(rows) == 1:
        return rows
    added = np.float32(NEIGHBOUR_WEIGHT) * neighbour_directions(rows)
    return mix(rows, rows, added, context_weight=0.0)
