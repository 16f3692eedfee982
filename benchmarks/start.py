"""Time from the start of a process to the first vector, and peak memory, of the whole 0.6B shape.

    python benchmarks/start.py                       # about two minutes; 3 GB of disk

A checkpoint of 28 layers, float32, is written once with random weights. Files are in the page cache
before every run: what is measured is the start of the library, not of the disk. A way is started
three times on all cores; the median counts.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from compare_engines import FOLDER
from engines.timing import cores, keep_to, timed
from machine import describe, peak_memory
from processes import HERE
from report import MIB, markdown, write_page
from workloads import WHOLE_MODEL, kept, write_checkpoint

from ctxembed.cli.bench.process import listen

RESULTS = Path(__file__).parent / "results" / "start.md"
STARTS = 3
QUERY = "how much did the revenue of the river company grow by"
WARM = 5
COLUMNS = (
    "",
    "first vector after",
    "of it import and load",
    "the next query",
    "peak memory",
    "of that held anonymous",
)
MEANING = """
The next query is the fastest of five. Peak memory counts the pages of the mapped file that were
touched, which the system can drop. Anonymous is what the process holds for itself after it has
answered.
"""


def ours(checkpoint: Path, dtype: str) -> Callable[[], object]:
    """Return what embeds a query with this project."""
    from ctxembed import Embedder

    embedder = Embedder.open(model=str(checkpoint), dtype=dtype)
    return lambda: embedder.embed_queries([QUERY])


def stock(checkpoint: Path, dtype: str) -> Callable[[], object]:
    """Return what embeds a query with transformers as it comes."""
    import torch
    from engines.export import plain
    from transformers import AutoModel, AutoTokenizer

    directory = plain(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModel.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()

    def embed() -> object:
        with torch.inference_mode():
            batch = tokenizer([QUERY], return_tensors="pt")
            return model(**batch).last_hidden_state.float().mean(1).tanh().numpy()

    return embed


WAYS = {
    "float32": ("ctxembed, float32", ours, "float32"),
    "bfloat16": ("ctxembed, bfloat16 from float32 weights", ours, "bfloat16"),
    "transformers": ("transformers, float32", stock, "float32"),
    "transformers-bfloat16": ("transformers, bfloat16 from float32 weights", stock, "bfloat16"),
}


def anonymous() -> int:
    """Return the bytes now held that no file backs; 0 where that is not told."""
    file = Path("/proc/self/smaps_rollup")
    for line in file.read_text().splitlines() if file.is_file() else ():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    return 0


def one(way: str, checkpoint: Path) -> None:
    """Embed a query, say so at once, then measure the next ones."""
    started = time.perf_counter()
    keep_to(cores())
    _, load, dtype = WAYS[way]
    embed = load(checkpoint, dtype)
    loaded = time.perf_counter() - started
    embed()
    print(json.dumps({"loaded": loaded}), flush=True)
    warm = timed(embed, threads=cores(), most=WARM)["seconds"]
    told = {"warm": warm, "memory": peak_memory(), "anonymous": anonymous()}
    print(json.dumps(told), flush=True)


def start(way: str, checkpoint: Path) -> dict[str, float]:
    """Start a way in a process of its own; time runs from before it exists to its first vector."""
    print(f"starting {way}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "start", "--one", way, "--checkpoint", str(checkpoint)]
    events: list[dict] = []
    if listen(command, "", events.append, folder=HERE):
        sys.exit(f"{way} failed: see above")
    first, rest = events
    return rest | first | {"first": first["at"]}


def read_whole(checkpoint: Path) -> None:
    """Bring the files into the page cache."""
    with (checkpoint / "model.safetensors").open("rb") as file:
        while file.read(2**24):
            pass


def main() -> None:
    """Measure every way, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--layers", type=int, default=WHOLE_MODEL)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    told = parser.parse_args()
    if told.one:
        one(told.one, told.checkpoint)
        return
    machine = describe()
    folder = kept(told.folder)
    checkpoint = write_checkpoint(folder, told.layers)
    rows = []
    for way, (title, *_) in WAYS.items():
        read_whole(checkpoint)
        each = [start(way, checkpoint) for _ in range(STARTS)]
        middle = {name: statistics.median(run[name] for run in each) for name in each[0]}
        rows.append(
            [
                title,
                f"{middle['first']:.1f} s",
                f"{middle['loaded']:.1f} s",
                f"{middle['warm'] * 1000:.0f} ms",
                f"{middle['memory'] / MIB:,.0f} MiB",
                f"{middle['anonymous'] / MIB:,.0f} MiB",
            ]
        )
    machine["Measured"] = (
        f"{told.layers} layers of the 0.6B shape, float32 on disk, page cache warm; one query of "
        f"{len(QUERY.split())} words, {cores()} threads; median of {STARTS} starts"
    )
    lines = [*markdown(COLUMNS, rows), MEANING]
    write_page(told.out, "Time to the first vector", "python benchmarks/start.py", machine, lines)


if __name__ == "__main__":
    main()
