"""Which matrix products a loaded model makes, and how fast this machine makes such products."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from ctxembed.backends import Backend
from ctxembed.backends.flops import Shape, Work, rate
from ctxembed.backends.torch.backend import TorchBackend
from ctxembed.backends.torch.linear import Kind, Linear, make_linear
from ctxembed.backends.torch.model import TokenModel
from ctxembed.backends.torch.qwen3 import Qwen3

_PLAIN = {"bert", "camembert", "electra", "mpnet", "roberta", "xlm-roberta"}
"""Stock models in which every linear layer sees every token once and every token all others."""

_MATRIX = 2
_UNUSED = "pooler"
_LARGEST = 3
_ROWS = {"cpu": (512, 2048)}
_DEVICE_ROWS = (2048, 8192)
_CALLS = {"cpu": 1}
_DEVICE_CALLS = 10
_KINDS: tuple[Kind, ...] = ("torch", "onednn")


def models_of(backend: Backend) -> tuple[TokenModel, ...]:
    """Return the models behind a backend of this package: the same on each of its devices."""
    if not isinstance(backend, TorchBackend):
        raise TypeError(type(backend).__name__)
    return tuple(each.model for each in backend._open())  # noqa: SLF001 - the package's own


def work_of(model: TokenModel) -> Work | None:
    """Return what a forward of the model needs, None where its layers are of a kind not known here."""
    if isinstance(model, Qwen3):
        sizes = model.sizes
        shapes = sizes.shapes().items()
        inside = (shape for name, shape in shapes if name.startswith("layers."))
        matrices = tuple((shape[0], shape[1]) for shape in inside if len(shape) == _MATRIX)
        return Work(matrices, sizes.layers * sizes.heads * sizes.head)
    from ctxembed.backends.torch.transformers_encoder import (
        Encoder,
        FastLinear,
    )  # brings transformers along

    if not isinstance(model, Encoder):
        return None
    config: Any = model.model.config
    if config.model_type not in _PLAIN:
        return None
    layers = tuple(
        (each.out_features, each.in_features)
        for name, each in model.model.named_modules()
        if isinstance(each, nn.Linear | FastLinear) and _UNUSED not in name
    )
    return Work(layers, config.num_hidden_layers * config.hidden_size)


def has_peak(dtype: str) -> bool:
    """Say whether `peak` can be measured: of a floating-point type."""
    found: bool = getattr(torch, dtype).is_floating_point
    return found


def peak(
    shapes: Iterable[Shape],
    dtype: str,
    device: str = "cpu",
    *,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Return GFLOP/s of the fastest product at the largest shapes, by any route that layers take.

    The type is a floating-point one. Takes about 0.1 s a product, some dozen in all.
    """
    kind = getattr(torch, dtype)
    target = torch.device(device)
    calls = _CALLS.get(target.type, _DEVICE_CALLS)
    largest = sorted(set(shapes), key=lambda shape: shape[0] * shape[1])[-_LARGEST:]
    best = 0.0
    with torch.inference_mode():
        for outputs, inputs in largest:
            weight = torch.randn(outputs, inputs).to(target, kind)
            for count in _ROWS.get(target.type, _DEVICE_ROWS):
                rows = torch.randn(count, inputs).to(target, kind)
                for linear in _routes(weight, rows):
                    product = partial(_repeated, linear, rows, calls)
                    operations = 2.0 * calls * count * inputs * outputs
                    best = max(best, rate(product, operations, clock=clock))
    return best


def _routes(weight: Tensor, rows: Tensor) -> list[Linear]:
    """Return the linear layers that work here."""
    found = []
    for kind in _KINDS if weight.device.type == "cpu" else _KINDS[:1]:
        try:
            linear = make_linear(weight, None, kind)
            linear(rows)
        except (AttributeError, RuntimeError):
            continue
        found.append(linear)
    return found


def _repeated(linear: Linear, rows: Tensor, calls: int) -> None:
    for _ in range(calls):
        linear(rows)
    if rows.device.type == "cuda":
        torch.cuda.synchronize(rows.device)


def device_memory(device: torch.device) -> int | None:
    """Return the most bytes that tensors took on a GPU at once, None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
