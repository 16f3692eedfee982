"""`ctxembed embed` on a backend without a model, with its own peak memory as the last line.

`python stream.py embed - -o out.parquet` takes the command line's own arguments.
"""

from collections import deque
from dataclasses import replace

from machine import peak_memory

from ctxembed import embedder
from ctxembed.cli import main
from ctxembed.testing import FakeBackend

DOCUMENTS, CHUNKS, WIDTH = 20_000, 10, 1024


def open_fake(settings: object) -> FakeBackend:
    """Return a fake as wide as a real model, which keeps nothing of what went through."""
    backend = FakeBackend(replace(FakeBackend().spec, dimensions=WIDTH))
    backend.batches = deque(maxlen=0)
    return backend


if __name__ == "__main__":
    embedder.open_backend = open_fake
    try:
        main()
    finally:
        print(peak_memory())
