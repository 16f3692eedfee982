"""Linear layers that multiply 8-bit numbers: one scale per output and one per row.

Rows are quantised as they come, so that a row's result depends on that row alone. Everything around
the product is float32. It is an approximation, chosen by name and never by itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_LARGEST = 127
_SMALLEST_STEP = 1e-20


def make_quantized(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return a linear layer over `weight`, (outputs, inputs), which it keeps as int8."""
    steps, codes = _quantized(weight.float())
    columns, scales = codes.t(), steps.squeeze(1)

    def linear(rows: Tensor) -> Tensor:
        mine, numbers = _quantized(rows.reshape(-1, rows.shape[-1]))
        found = torch._int_mm(numbers, columns).float()  # noqa: SLF001 - PyTorch has no public name for it
        found.mul_(mine).mul_(scales)
        if bias is not None:
            found.add_(bias)
        return found.view(*rows.shape[:-1], -1)

    return linear


def _quantized(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return one step per row, (rows, 1), and each number as the nearest multiple of it.

    A row with NaN or infinity has such a step, and so has what is made of it.
    """
    steps = rows.abs().amax(-1, keepdim=True).clamp_min_(_SMALLEST_STEP).div_(_LARGEST)
    return steps, rows.div(steps).round_().to(torch.int8)
