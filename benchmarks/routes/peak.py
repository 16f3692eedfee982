"""The fastest matrix product that this machine gives: `python -m routes.peak DTYPE THREADS`.

At the shapes of the 0.6B model's layers, by every library that PyTorch carries; prints GFLOP/s.
"""

import json
import sys
from collections.abc import Callable, Iterator

from routes.clock import keep_to, timed

WIDTH, INNER = 1024, 3072
ROWS = (512, 1024, 2048)
ROUNDS, PRODUCTS = 6, 10


def products(dtype: str, rows: int) -> Iterator[Callable[[], object]]:
    """Yield the products at hand, each as a call."""
    import torch
    from torch.nn import functional

    if dtype == "int8":
        ours, weight = (torch.randint(-127, 127, (n, WIDTH)).to(torch.int8) for n in (rows, INNER))
        yield lambda: torch._int_mm(ours, weight.t())
        return
    ours, weight = (torch.randn(n, WIDTH).to(getattr(torch, dtype)) for n in (rows, INNER))
    yield lambda: functional.linear(ours, weight)
    onednn = torch.ops.mkldnn
    packed = onednn._reorder_linear_weight(weight, rows)
    yield lambda: onednn._linear_pointwise(ours, packed, None, "none", [], "")


def speed(product: Callable[[], object], rows: int, threads: int) -> float:
    """Return the GFLOP/s of the best of some rounds."""
    import torch

    with torch.inference_mode():
        product()
        spent = timed(lambda: [product() for _ in range(PRODUCTS)], threads=threads, most=ROUNDS)[
            "seconds"
        ]
    return 2 * PRODUCTS * rows * WIDTH * INNER / spent / 1e9


def main(dtype: str, threads: int) -> None:
    """Measure and print."""
    keep_to(threads)
    best = 0.0
    for rows in ROWS:
        try:
            for product in products(dtype, rows):
                best = max(best, speed(product, rows, threads))
        except (AttributeError, RuntimeError):  # not in this build of PyTorch
            continue
    print(json.dumps({"gflops": best}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
