"""`ctxembed embed` on a backend without a model, with its own peak memory as the last line.

`python embed_without_model.py embed - -o out.parquet` takes the command line's own arguments.
"""

from dataclasses import replace

from machine import peak_memory

from ctxembed import embedder
from ctxembed.cli import main
from ctxembed.testing import FakeBackend

DOCUMENTS, CHUNKS, WIDTH = 20_000, 10, 1024


def open_fake(*_: object) -> FakeBackend:
    """Return a fake as wide as a real model, which keeps nothing of what went through."""
    return FakeBackend(replace(FakeBackend().spec, dimensions=WIDTH), record=False)


if __name__ == "__main__":
    embedder.open_backend = open_fake
    try:
        main()
    finally:
        print(peak_memory())
