"""The matrix products of a loaded model, and the speed of such products on this machine."""

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
"""Stock models whose linear layers read every token once, and whose tokens all see each other."""

_MATRIX = 2
_UNUSED = "pooler"
_LARGEST = 3
_ROWS, _DEVICE_ROWS = (512, 2048), (2048, 8192)
_DEVICE_CALLS = 10


def models_of(backend: Backend) -> tuple[TokenModel, ...]:
    """Return the models behind a backend of this package: the same on each of its devices."""
    if not isinstance(backend, TorchBackend):
        raise TypeError(type(backend).__name__)
    return tuple(each.model for each in backend._open())  # noqa: SLF001 - the package's own


def work_of(model: TokenModel) -> Work | None:
    """Return the work of the model's forward, None where its kind of layers is not known here."""
    if isinstance(model, Qwen3):
        config = model.config
        shapes = config.shapes().items()
        inside = (shape for name, shape in shapes if name.startswith("layers."))
        matrices = tuple((shape[0], shape[1]) for shape in inside if len(shape) == _MATRIX)
        return Work(matrices, config.num_layers * config.num_heads * config.head_dim)
    # imports transformers
    from ctxembed.backends.torch.transformers_encoder import Encoder, FastLinear

    if not isinstance(model, Encoder):
        return None
    stock: Any = model.model.config
    if stock.model_type not in _PLAIN:
        return None
    layers = tuple(
        (each.out_features, each.in_features)
        for name, each in model.model.named_modules()
        if isinstance(each, nn.Linear | FastLinear) and _UNUSED not in name
    )
    return Work(layers, stock.num_hidden_layers * stock.hidden_size)


def has_peak(dtype: str) -> bool:
    """Tell whether `peak` can be measured: for floating-point types."""
    found: bool = getattr(torch, dtype).is_floating_point
    return found


def peak(
    shapes: Iterable[Shape],
    dtype: str,
    device: str = "cpu",
    *,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Return GFLOP/s of the fastest product at the largest shapes, by any library that layers use.

    It takes about 0.1 s per product, about a dozen in all.
    """
    largest = sorted(set(shapes), key=lambda shape: shape[0] * shape[1])[-_LARGEST:]
    rates = [
        each
        for shape in largest
        for rows in (_ROWS if device == "cpu" else _DEVICE_ROWS)
        for each in product_rates(shape, rows, dtype, device, clock=clock).values()
    ]
    return max(rates, default=0.0)


def product_rates(
    shape: Shape,
    rows: int,
    dtype: str,
    device: str = "cpu",
    *,
    clock: Callable[[], float] = perf_counter,
) -> dict[Kind, float]:
    """Return GFLOP/s of one linear layer on so many rows, by each library that works here.

    Args:
        shape: (outputs, inputs) of the layer.
        rows: How many rows it is given.
        dtype: The name of a floating-point type.
        device: Where it runs; on a GPU only PyTorch's own product is measured.
        clock: What the time is read from.
    """
    outputs, inputs = shape
    target, kind = torch.device(device), getattr(torch, dtype)
    on_cpu = target.type == "cpu"
    libraries: tuple[Kind, ...] = ("torch", "onednn") if on_cpu else ("torch",)
    calls = 1 if on_cpu else _DEVICE_CALLS
    found: dict[Kind, float] = {}
    with torch.inference_mode():
        weight = torch.randn(outputs, inputs).to(target, kind)
        inside = torch.randn(rows, inputs).to(target, kind)
        for library in libraries:
            try:
                linear = make_linear(weight, None, library)
                linear(inside)
            except (AttributeError, RuntimeError):  # not in this build of PyTorch
                continue
            product = partial(_repeated, linear, inside, calls)
            found[library] = rate(product, 2.0 * calls * rows * inputs * outputs, clock=clock)
    return found


def _repeated(linear: Linear, rows: Tensor, calls: int) -> None:
    for _ in range(calls):
        linear(rows)
    if rows.device.type == "cuda":
        torch.cuda.synchronize(rows.device)


def device_memory(device: torch.device) -> int | None:
    """Return the most bytes that tensors ever took on a GPU, None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
