"""Linear layers through the faster library at hand: PyTorch's own, or oneDNN called directly.

On CPUs where PyTorch's float32 path runs at half speed (AMD), oneDNN with reordered weights runs
at full speed. Its entry points are internal to PyTorch, so they are tried out at load: first for
equal results, then for time. Whichever loses, the vectors are the same but for rounding. Layers of
8-bit numbers, which are chosen by name only, are in `linear_int8`.
"""

from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ctxembed.backends.torch.linear_int8 import make_quantized

Linear = Callable[[Tensor], Tensor]
Kind = Literal["torch", "onednn", "int8"]

TYPICAL_ROWS = 2048
"""Tokens in a full batch on CPU."""

LAYOUT_ROWS = 512
"""What weights are laid out for: rows that go through a layer together on CPU."""

_PROBE_ROWS, _PROBE_INPUTS, _PROBE_OUTPUTS = 512, 1024, 2048
_PROBE_RUNS = 7
_NOISE = 1.25
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def matmul(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    then: Literal["none", "swish"] = "none",
) -> Tensor:
    """Return `then(rows @ weight.T + bias)` from oneDNN; `weight` may be reordered or strided."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, then, [], "")  # noqa: SLF001 - internal to PyTorch: see the module's docstring
    return result


def matmul_times(rows: Tensor, weight: Tensor, other: Tensor) -> Tensor:
    """Return `(rows @ weight.T) * other` from oneDNN."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(rows, other, weight, None, "mul")  # noqa: SLF001 - as above
    return result


def reorder(weight: Tensor) -> Tensor:
    """Return a copy of a weight in the layout that oneDNN multiplies fastest."""
    result: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, LAYOUT_ROWS)  # noqa: SLF001 - as above
    return result


def make_linear(weight: Tensor, bias: Tensor | None, kind: Kind) -> Linear:
    """Return a linear layer; all kinds but "torch" hold a copy of the weight only."""
    if kind == "torch":
        return lambda rows: functional.linear(rows, weight, bias)
    if kind == "int8":
        return make_quantized(weight, bias)
    packed = reorder(weight)
    return lambda rows: matmul(rows, packed, bias)


def make_gate_up(gate: Tensor, up: Tensor, kind: Kind) -> Linear:
    """Return the layer `silu(rows @ gate.T) * (rows @ up.T)`."""
    if kind == "onednn":
        first, second = reorder(gate), reorder(up)
        return lambda rows: matmul_times(rows, second, matmul(rows, first, None, "swish"))
    both = make_linear(torch.cat((gate, up)), None, kind)

    def gate_up(rows: Tensor) -> Tensor:
        opened, raised = both(rows).chunk(2, dim=-1)
        return functional.silu(opened).mul_(raised)

    return gate_up


@cache
def choose(device: str, dtype: torch.dtype) -> Kind:
    """Return the kind that is faster here, if all give the same; takes 0.1 s, once."""
    if dtype == torch.int8:
        return "int8"
    if device != "cpu" or dtype not in _TOLERANCE:
        return "torch"
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(_PROBE_OUTPUTS, _PROBE_INPUTS, generator=random).to(dtype)
    rows = torch.randn(_PROBE_ROWS, _PROBE_INPUTS, generator=random).to(dtype)
    with torch.inference_mode():
        ours = make_linear(weight, None, "torch")
        try:
            rival = make_linear(weight, None, "onednn")
            pairs = [
                (ours(rows), rival(rows)),
                (ours(rows), matmul(rows, weight)),
                *((make_gate_up(weight, weight, kind)(rows) for kind in ("torch", "onednn")),),
            ]
            same = all(_agree(one, two, _TOLERANCE[dtype]) for one, two in pairs)
        except (AttributeError, RuntimeError):
            return "torch"
        return "onednn" if same and _faster(rival, ours, rows) else "torch"


def _agree(one: Tensor, two: Tensor, tolerance: float) -> bool:
    scale = one.abs().max()
    return one.shape == two.shape and bool((one - two).abs().max() <= tolerance * scale)


def _faster(rival: Linear, ours: Linear, rows: Tensor) -> bool:
    """Compare the best of some runs, taken by turns: whatever else runs here slows both alike."""
    best = dict.fromkeys((rival, ours), float("inf"))
    for _ in range(_PROBE_RUNS):
        for linear in best:
            start = perf_counter()
            linear(rows)
            best[linear] = min(best[linear], perf_counter() - start)
    return best[rival] < _NOISE * best[ours]
