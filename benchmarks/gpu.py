"""This project on one GPU against the reference approach on the same one, from strings to codes.

    python benchmarks/gpu.py                       # 0.6B: about five minutes, 3 GB of disk
    python benchmarks/gpu.py --shape 4b            # 16 GB of disk
    python benchmarks/gpu.py --shape tiny --device cpu    # to see that everything runs

bfloat16, random weights. The reference is what the model card shows, in bfloat16: documents in
batches padded to the longest, PyTorch's own attention under a mask, a loop that pools. Both get the
same documents in the same process. The table goes to `results/gpu-SHAPE.md`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from compare_engines import FOLDER
from engines import reference
from machine import describe
from report import agreement, markdown, write_page
from workloads import Documents, document_of, short_documents

from ctxembed import Embedder
from ctxembed.backends.torch.backend import TorchBackend
from ctxembed.backends.torch.matrix_products import models_of, peak, work_of
from ctxembed.cli.bench.timer import fastest

RESULTS = Path(__file__).parent / "results"
SHAPES = {
    "0.6b": {
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
    },
    "4b": {
        "hidden_size": 2560,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
    },
    "tiny": {"num_hidden_layers": 2},
}
LENGTHS = {"tiny": (64, 300)}
USUAL_LENGTHS = (512, 2048, 8192, 32_768)
TOKENS = {"tiny": 2000}
USUAL_TOKENS = 262_144
SHORT = {"tiny": 8}
USUAL_SHORT = 1000
REFERENCE_TOKENS = 32_768
RUNS, QUERIES = 3, 50
QUERY = "how much did the revenue of the river company grow by in the second quarter"
COLUMNS = (
    "documents",
    "tokens",
    "ctxembed, tokens/s",
    "reference, tokens/s",
    "ratio",
    "TFLOP/s",
    "share of peak",
    "lowest cosine",
)


def written(folder: Path, shape: str) -> Path:
    """Return the directory of a checkpoint of a shape, written unless it is there."""
    directory = folder / f"gpu-{shape}"
    if not (directory / "model.safetensors").is_file():
        from pplx import write_pplx
        from qwen import tokenizer_json

        layers = SHAPES[shape]["num_hidden_layers"]
        kinds = ["full_attention"] * layers
        write_pplx(directory, tokenizer_json(), **SHAPES[shape], layer_types=kinds)
    return directory


def workloads(shape: str) -> dict[str, Documents]:
    """Return documents by name: of one length each, and short ones of many lengths."""
    total = TOKENS.get(shape, USUAL_TOKENS)
    found = {
        f"{length:,} tokens": [document_of(length)] * max(1, total // length)
        for length in LENGTHS.get(shape, USUAL_LENGTHS)
    }
    return found | {"3 to 10 chunks": short_documents(SHORT.get(shape, USUAL_SHORT))}


def best(run: Callable[[], object], device: str, runs: int = RUNS) -> float:
    """Return the least seconds of some runs, after one that does not count."""

    def once() -> float:
        start = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    return fastest(once, float, within=float("inf"), most=runs)[0]


def row(name: str, documents: Documents, ours: Embedder, checkpoint: Path, device: str) -> list:
    """Return the cells of a workload."""
    assert isinstance(ours.backend, TorchBackend)
    counts = [
        sum(chunk.count for chunk in ours.backend.tokenize(document)) + len(document) - 1
        for document in documents
    ]
    tokens = sum(counts)
    size = max(1, REFERENCE_TOKENS // max(counts))
    theirs = reference.load(checkpoint, device=device, dtype="bfloat16", size=size)
    seconds = best(lambda: ours.embed_documents(documents), device)
    rival = best(lambda: theirs(documents), device)
    few = documents[:4]
    found = agreement(np.concatenate(theirs(few)), np.concatenate(ours.embed_documents(few)))
    work = work_of(models_of(ours.backend)[0])
    reached = work.operations(counts) / seconds / 1e9
    roof = peak(work.products, "bfloat16", device)
    return [
        name,
        f"{tokens:,}",
        f"{tokens / seconds:,.0f}",
        f"{tokens / rival:,.0f}",
        f"{rival / seconds:.2f}",
        f"{reached / 1e3:.1f}",
        f"{reached / roof:.0%}",
        f"{found['cosine']:.5f}",
    ]


def query_milliseconds(ours: Embedder) -> float:
    """Return the median time of a query of some 16 tokens, string to vector."""
    took = []
    for _ in range(QUERIES):
        start = time.perf_counter()
        ours.embed_query(QUERY)
        took.append(time.perf_counter() - start)
    return 1e3 * statistics.median(took[QUERIES // 5 :])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="0.6b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the checkpoint is kept")
    parser.add_argument("--out", type=Path, help="where the table goes")
    told = parser.parse_args()
    checkpoint = written(told.folder, told.shape)
    ours = Embedder.open(model=str(checkpoint), device=told.device, dtype="bfloat16")
    machine = describe() | {"Device": told.device}
    if told.device != "cpu":
        machine["Device"] = torch.cuda.get_device_name(told.device)
    rows = [
        row(name, documents, ours, checkpoint, told.device)
        for name, documents in workloads(told.shape).items()
    ]
    lines = [
        *markdown(COLUMNS, rows),
        "",
        f"A query of {len(QUERY.split())} words: {query_milliseconds(ours):.1f} ms (median).",
    ]
    out = told.out or RESULTS / f"gpu-{told.shape}.md"
    title = f"One GPU against the reference approach, {told.shape} shape"
    command = f"python benchmarks/gpu.py --shape {told.shape} --device {told.device}"
    write_page(out, title, command, machine, lines)


if __name__ == "__main__":
    main()
