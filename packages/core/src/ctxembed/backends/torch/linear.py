"""Linear layers through the faster library at hand: PyTorch's own, or oneDNN called directly.

On CPUs where PyTorch's float32 path runs at half speed (AMD), oneDNN with reordered weights runs
at full speed. Its entry points are internal to PyTorch, so they are tried out at load: first for
equal results, then for time. Whichever loses, the vectors are the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Linear = Callable[[Tensor], Tensor]
Kind = Literal["torch", "onednn"]

TYPICAL_ROWS = 2048
"""What weights are laid out for: tokens in a full batch on CPU."""

_PROBE_ROWS, _PROBE_INPUTS, _PROBE_OUTPUTS = 512, 1024, 2048
_PROBE_RUNS = 3
_NOISE = 1.1
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `rows @ weight.T + bias` from oneDNN; `weight` may be reordered or a strided view."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")  # noqa: SLF001 - internal to PyTorch: see the module's docstring
    return result


def reorder(weight: Tensor) -> Tensor:
    """Return a copy of a weight in the layout that oneDNN multiplies fastest."""
    result: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_ROWS)  # noqa: SLF001 - as above
    return result


def make_linear(weight: Tensor, bias: Tensor | None, kind: Kind) -> Linear:
    """Return a linear layer; with "onednn" it holds its own copy of the weight only."""
    if kind == "torch":
        return lambda rows: functional.linear(rows, weight, bias)
    packed = reorder(weight)
    return lambda rows: product(rows, packed, bias)


@cache
def choose(device: str, dtype: torch.dtype) -> Kind:
    """Return the kind that is faster here, if both give the same; takes 0.1 s, once."""
    if device != "cpu" or dtype not in _TOLERANCE:
        return "torch"
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(_PROBE_OUTPUTS, _PROBE_INPUTS, generator=random).to(dtype)
    rows = torch.randn(_PROBE_ROWS, _PROBE_INPUTS, generator=random).to(dtype)
    ours = make_linear(weight, None, "torch")
    with torch.inference_mode():
        try:
            rival = make_linear(weight, None, "onednn")
            same = _agree(ours(rows), rival(rows), _TOLERANCE[dtype])
            same = same and _agree(ours(rows), product(rows, weight), _TOLERANCE[dtype])
        except (AttributeError, RuntimeError):
            return "torch"
        faster = same and _seconds(rival, rows) < _NOISE * _seconds(ours, rows)
        return "onednn" if faster else "torch"


def _agree(one: Tensor, two: Tensor, tolerance: float) -> bool:
    scale = one.abs().max()
    return one.shape == two.shape and bool((one - two).abs().max() <= tolerance * scale)


def _seconds(linear: Linear, rows: Tensor) -> float:
    best = float("inf")
    for _ in range(_PROBE_RUNS):
        start = perf_counter()
        linear(rows)
        best = min(best, perf_counter() - start)
    return best
