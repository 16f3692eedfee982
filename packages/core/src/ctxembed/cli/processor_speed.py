"""The speed of matrix products through torch on this processor, by library and type.

Which library a model uses is left to the torch backend, which decides when it loads.
"""

from dataclasses import dataclass
from importlib import import_module

from ctxembed.backends.threads import limit_torch_threads

_TOKENS, _LAYER = 512, (3072, 1024)
_ROUNDS = 3
_PAYS = 1.2


@dataclass(frozen=True, slots=True)
class Speeds:
    """GFLOP/s on the threads that a model gets: float32 by torch and by oneDNN, and bfloat16."""

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
    from ctxembed.backends.torch.matrix_products import product_rates  # takes seconds to import

    threads = limit_torch_threads()
    best: dict[tuple[str, str], float] = {}
    # in turn, so that other work on the machine slows all of them down alike
    for _ in range(_ROUNDS):
        for dtype in ("float32", "bfloat16"):
            for library, rate in product_rates(_LAYER, _TOKENS, dtype).items():
                best[dtype, library] = max(rate, best.get((dtype, library), 0.0))
    return Speeds(
        threads,
        best["float32", "torch"],
        best.get(("float32", "onednn")),
        best["bfloat16", "torch"],
    )


def gpus() -> list[str]:
    """Return the CUDA devices that torch sees, with their memory."""
    cuda = import_module("torch").cuda
    if not cuda.is_available():
        return []
    found = map(cuda.get_device_properties, range(cuda.device_count()))
    return [f"{each.name}, {each.total_memory / 2**30:.0f} GiB" for each in found]
