"""How fast torch multiplies matrices here, by route and type: a few short measurements.

Which route a model takes is the torch backend's own choice, made when it loads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from ctxembed.backends.flops import rate
from ctxembed.backends.threads import limit_torch_threads

_TOKENS, _INPUTS, _OUTPUTS = 512, 1024, 3072
_ROUNDS = 3
_PAYS = 1.2


@dataclass(frozen=True, slots=True)
class Speeds:
    """GFLOP/s on the threads that a model gets: float32 as it does it and by oneDNN, bfloat16."""

    threads: int
    linear: float
    onednn: float | None
    bfloat16: float

    @property
    def advice(self) -> str:
        """Which dtype to take on this processor, and why."""
        ratio = self.bfloat16 / max(self.linear, self.onednn or 0.0)
        if ratio >= _PAYS:
            return f"--dtype bfloat16 pays: products run at {ratio:.1f} times float32's speed"
        return f"stay with float32: bfloat16 products run at {ratio:.1f} times its speed"


def measure_cpu() -> Speeds:
    """Return what products of the shape of a 0.6B model's layers reach on the CPU."""
    torch = import_module("torch")  # only where it is asked for: it takes seconds to import
    threads = limit_torch_threads()
    x, w = torch.rand(_TOKENS, _INPUTS) - 0.5, torch.rand(_OUTPUTS, _INPUTS) - 0.5
    linear = torch.nn.functional.linear
    products: dict[str, Callable[[], object]] = {
        "linear": partial(linear, x, w),
        "onednn": partial(_onednn, x, w),
        "bfloat16": partial(linear, x.bfloat16(), w.bfloat16()),
    }
    with torch.inference_mode():
        try:
            products["onednn"]()
        except (AttributeError, RuntimeError):
            del products["onednn"]
        rates = dict.fromkeys(products, 0.0)
        # by turns, so that whatever else runs here slows all of them down alike
        for _ in range(_ROUNDS):
            for name, product in products.items():
                rates[name] = max(rates[name], rate(product, 2.0 * _TOKENS * _INPUTS * _OUTPUTS))
    return Speeds(threads, rates["linear"], rates.get("onednn"), rates["bfloat16"])


def _onednn(x: object, w: object) -> object:
    mkldnn = import_module("torch").ops.mkldnn
    return mkldnn._linear_pointwise(x, w, None, "none", [], "")  # noqa: SLF001 - no public name


def gpus() -> list[str]:
    """Return the CUDA devices that torch sees, with their memory."""
    cuda = import_module("torch").cuda
    if not cuda.is_available():
        return []
    found = [cuda.get_device_properties(number) for number in range(cuda.device_count())]
    return [f"{each.name}, {each.total_memory / 2**30:.0f} GiB" for each in found]
