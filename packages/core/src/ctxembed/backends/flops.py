"""The arithmetic that a model's forward needs, and the pace of a function that does some."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

_SECONDS = 0.1

Shape = tuple[int, int]
"""(outputs, inputs) of a linear layer."""


@dataclass(frozen=True, slots=True)
class Work:
    """The linear layers of a model, and its attention: layers times heads times their width."""

    products: tuple[Shape, ...]
    attention: int

    def operations(self, lengths: Iterable[int]) -> int:
        """Return the floating-point operations for windows of so many tokens each.

        Useful work only: two a weight and token, and full attention inside each window. Padding counts
        as nothing, and so do norms, rotations and everything else that no matrix product is.
        """
        weights = sum(outputs * inputs for outputs, inputs in self.products)
        return sum(2 * weights * length + 4 * length**2 * self.attention for length in lengths)


def rate(
    product: Callable[[], object],
    operations: float,
    *,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Return GFLOP/s at the fastest of the calls that fit into a tenth of a second, one at least."""
    best = float("inf")
    end = perf_counter() + _SECONDS
    while True:
        start = clock()
        product()
        best = min(best, clock() - start)
        if perf_counter() >= end:
            return operations / best / 1e9
