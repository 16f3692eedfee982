"""Floating-point operations: how many a model needs, and how many a function does per second."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

_SECONDS = 0.1

Shape = tuple[int, int]
"""(outputs, inputs) of a linear layer."""


@dataclass(frozen=True, slots=True)
class Work:
    """The linear layers of a model; `attention` is layers times heads times the size of a head."""

    products: tuple[Shape, ...]
    attention: int

    def operations(self, lengths: Iterable[int]) -> int:
        """Return the floating-point operations for windows of so many tokens each.

        Only useful matrix products count: two operations per weight and token, and full attention
        inside each window. Padding, norms and rotations do not count.
        """
        weights = sum(outputs * inputs for outputs, inputs in self.products)
        return sum(2 * weights * length + 4 * length**2 * self.attention for length in lengths)


def rate(
    product: Callable[[], object],
    operations: float,
    *,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Return the GFLOP/s of the fastest call among those that fit into 0.1 s, at least one."""
    best = float("inf")
    end = perf_counter() + _SECONDS
    while True:
        start = clock()
        product()
        best = min(best, clock() - start)
        if perf_counter() >= end:
            return operations / best / 1e9
