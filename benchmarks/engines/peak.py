"""The fastest matrix product that this machine gives: `python -m engines.peak DTYPE THREADS`.

At the shapes of the 0.6B model's layers, by the libraries that `ctxembed bench` measures; int8 by
PyTorch's own product. Prints GFLOP/s.
"""

import json
import sys
import time

from engines.timing import keep_to

LAYER = (3072, 1024)
ROWS = (512, 1024, 2048)


def whole_numbers(clock) -> float:
    """Return GFLOP/s of products of int8, 0 where this build of PyTorch has none."""
    import torch

    from ctxembed.backends.flops import rate

    outputs, inputs = LAYER
    weight = torch.randint(-127, 127, (outputs, inputs)).to(torch.int8).t()
    best = 0.0
    for count in ROWS:
        rows = torch.randint(-127, 127, (count, inputs)).to(torch.int8)
        operations = 2.0 * count * inputs * outputs
        try:
            found = rate(lambda rows=rows: torch._int_mm(rows, weight), operations, clock=clock)
        except (AttributeError, RuntimeError):
            continue
        best = max(best, found)
    return best


def main(dtype: str, threads: int) -> None:
    """Measure and print."""
    keep_to(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    if dtype == "int8":
        best = whole_numbers(clock)
    else:
        from ctxembed.backends.torch.matrix_products import peak

        best = peak([LAYER], dtype, clock=clock)
    print(json.dumps({"gflops": best}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
