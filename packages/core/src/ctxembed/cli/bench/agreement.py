"""The agreement of int8 codes with others of the same chunks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctxembed.encoding import Array


@dataclass(frozen=True, slots=True)
class Agreement:
    """The share of equal codes, the largest difference of two, and the lowest cosine of a row."""

    equal: float
    largest: int
    cosine: float


def agreement(expected: Array, found: Array) -> Agreement:
    """Return how two (chunks, dimensions) arrays of int8 codes agree; equal rows have cosine 1."""
    if expected.shape != found.shape:
        raise ValueError(f"{expected.shape} and {found.shape} are not rows of the same chunks.")
    one, two = expected.astype(np.int32), found.astype(np.int32)
    lengths = np.sqrt(_dot(one, one).astype(float) * _dot(two, two))
    equal = one == two
    # a row of zeros has no direction: its cosine is 1 with another row of zeros, else 0
    alike = equal.all(axis=1).astype(float)
    cosines = np.divide(_dot(one, two), lengths, out=alike, where=lengths > 0)
    return Agreement(float(equal.mean()), int(np.abs(one - two).max()), float(cosines.min()))


def _dot(one: Array, two: Array) -> NDArray[np.int64]:
    products: NDArray[np.int64] = np.einsum("ij,ij->i", one, two, dtype=np.int64)
    return products
