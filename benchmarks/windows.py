"""What `window_tokens` costs and changes: one document of 32,768 tokens, cut ever finer.

    python benchmarks/windows.py                      # about five minutes on two cores
    python benchmarks/windows.py --tokens 2048 --layers 1

Every size runs in a process of its own on all cores, wall time. The vectors, int8 codes divided by
127, are compared with those of one whole window.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from compare_engines import FOLDER
from engines.timing import cores, keep_to
from machine import describe, peak_memory
from processes import run
from report import MIB, cosines, markdown, write_page
from workloads import WHOLE_MODEL, document_of, kept, token_counts, useful_flops, write_checkpoint

RESULTS = Path(__file__).parent / "results" / "windows.md"
SIZES = (1024, 2048, 4096, 8192, 16_384, 32_768)
COLUMNS = (
    "window_tokens",
    "tokens/s",
    "x the whole",
    "cosine to the whole, median",
    "lowest",
    "equal int8 codes",
    "peak memory",
    "of 28 layers: GFLOP per token",
)
MEANING = """
Weights are random, and random attention takes about as much from far away as from near by. So the
cosines show that vectors change with the window, and by how much at the most. They do not show how
much a trained model takes from far away, nor whether retrieval gains or loses. Speed and memory are
those of a trained model. Measure the rest on your own data: `ctxembed demo --data FOLDER`.
"""


def one(size: int, folder: Path) -> None:
    """Embed the document with windows of a size, print the seconds, and leave the vectors."""
    keep_to(cores())
    from ctxembed import Embedder

    told = json.loads((folder / "windows.json").read_text())
    embedder = Embedder.open(
        model=told["checkpoint"], dtype=told["dtype"], window_tokens=size, encoding="float"
    )
    document = told["document"]
    embedder.embed_documents([document[:3]])
    start = time.perf_counter()
    (vectors,) = embedder.embed_documents([document])
    seconds = time.perf_counter() - start
    np.save(folder / f"windows-{size}.npy", vectors)
    print(json.dumps({"seconds": seconds, "memory": peak_memory()}))


def per_token(tokens: int, size: int) -> float:
    """Return the GFLOP that a token costs the whole model in windows of a size, overlap aside."""
    return useful_flops([size] * (tokens // size), WHOLE_MODEL) / tokens / 1e9


def row(size: int, took: dict, whole: dict, vectors: dict[int, np.ndarray], tokens: int) -> list:
    """Return the cells of one size; `vectors` has those of this one and of the whole."""
    same = cosines(vectors[tokens], vectors[size])
    codes = [np.rint(vectors[each] * 127) for each in (tokens, size)]
    return [
        f"{size:,}",
        f"{tokens / took['seconds']:,.0f}",
        f"{whole['seconds'] / took['seconds']:.2f}",
        f"{np.median(same):.4f}",
        f"{same.min():.4f}",
        f"{(codes[0] == codes[1]).mean():.1%}",
        f"{took['memory'] / MIB:,.0f} MiB",
        f"{per_token(tokens, size):.2f}",
    ]


def main() -> None:
    """Measure every size, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--tokens", type=int, default=SIZES[-1])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    told = parser.parse_args()
    if told.one:
        one(told.one, told.folder)
        return
    machine = describe()
    folder = kept(told.folder)
    checkpoint, document = write_checkpoint(folder, told.layers), document_of(told.tokens)
    facts = {"checkpoint": str(checkpoint), "document": document, "dtype": told.dtype}
    (folder / "windows.json").write_text(json.dumps(facts))
    (tokens,) = token_counts(checkpoint, [document])
    sizes = [*(size for size in SIZES if size < tokens), tokens]
    took = {size: run("windows", "--one", size, "--folder", folder) for size in sizes}
    for size, each in took.items():
        if "failed" in each:
            sys.exit(f"{size}: {each['failed']}")
    vectors = {size: np.load(folder / f"windows-{size}.npy") for size in sizes}
    rows = [row(size, took[size], took[tokens], vectors, tokens) for size in sizes]
    machine["Measured"] = (
        f"one document of {tokens:,} tokens in {len(document)} chunks; {told.layers} layers of the "
        f"0.6B shape, {told.dtype}, {cores()} threads, wall time"
    )
    lines = [*markdown(COLUMNS, rows), MEANING]
    write_page(told.out, "Window sizes", "python benchmarks/windows.py", machine, lines)


if __name__ == "__main__":
    main()
