"""Measures this project's local weights against the reference approach; prints and writes a table.

`nox -s bench`, or `python benchmarks/foundation.py` where ctxembed[torch,cli] is installed. Takes
about four minutes on two cores, most of it the reference. `compare_engines.py` has more engines
and workloads.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import embed_without_model as command
import numpy as np
from compare_engines import work_of
from engines.names import ENGINES
from machine import describe
from processes import run
from report import COLUMNS, MIB, agreement, markdown, row, write_page
from workloads import prepare

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "foundation.md"
IMPORTS = 7
NAMES = ("reference", "ctxembed-float32", "ctxembed-bfloat16")


def measure(folder: Path) -> Iterator[str]:
    """Yield the lines of the table and of the peaks."""
    prepare(folder, "short")
    peaks = {name: run("engines.peak", name, 1)["gflops"] for name in ("float32", "bfloat16")}
    took = {}
    for name in NAMES:
        found = run("engines", name, "short", 1, folder)
        if "failed" in found:
            raise SystemExit(f"{name}: {found['failed']}")
        codes = [np.load(folder / f"short-{each}-1.npy") for each in ("reference", name)]
        took[name] = found | agreement(*codes)
    work = work_of(folder, "short")
    counted = f"{work['documents']} documents, {work['chunks']} chunks, {work['tokens']:,} tokens"
    yield f"{counted}; random weights in the shapes of Qwen3-0.6B, 4 layers."
    yield "From strings to int8 codes, in CPU time of one thread on one core.\n"
    yield from markdown(
        COLUMNS,
        [
            row(ENGINES[name].title, each, took["reference"], work, peaks[ENGINES[name].peak])
            for name, each in took.items()
        ],
    )
    told = ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in peaks.items())
    yield f"\nPeak of matrix products at the model's shapes, one core: {told}.\n"
    for name in NAMES[1:]:
        roof = peaks[ENGINES[name].peak] * 1e9 * took["reference"]["seconds"] / work["flops"]
        yield f"- {ENGINES[name].title}: the peak itself is {roof:.2f} times the reference."


def stream_lines() -> Iterator[bytes]:
    """Yield documents as the command line reads them; none is kept."""
    for number in range(command.DOCUMENTS):
        words = "some words " * 19
        chunks = [f"chunk {index} of {number} {words}" for index in range(command.CHUNKS)]
        yield json.dumps({"id": str(number), "chunks": chunks}).encode() + b"\n"


def stream_memory(folder: Path) -> tuple[float, float]:
    """Return the peak memory and the seconds of `ctxembed embed` over many chunks."""
    print("measuring the command line ...", file=sys.stderr)
    script, out = HERE / "embed_without_model.py", folder / "out.parquet"
    arguments = [sys.executable, str(script), "embed", "-", "-o", str(out)]
    start = time.perf_counter()
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for line in stream_lines():
            process.stdin.write(line)
        process.stdin.close()
        memory = float(process.stdout.read().split()[-1])
    if process.returncode:
        raise SystemExit("ctxembed embed failed: see above")
    return memory, time.perf_counter() - start


def import_seconds() -> float:
    """Return the median time that `import ctxembed` adds to an empty process."""
    times: dict[str, list[float]] = {"pass": [], "import ctxembed": []}
    for _ in range(IMPORTS):
        for code, took in times.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            took.append(time.perf_counter() - start)
    empty, full = (sorted(took)[IMPORTS // 2] for took in times.values())
    return full - empty


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=RESULTS, help="where the table goes")
    out = parser.parse_args().out
    told = describe()
    with tempfile.TemporaryDirectory() as name:
        table = list(measure(Path(name)))
        memory, seconds = stream_memory(Path(name))
    streamed = f"{command.DOCUMENTS * command.CHUNKS:,} chunks of {command.WIDTH} dimensions"
    lines = [
        *table,
        f"- `ctxembed embed` on {streamed}, from a pipe to Parquet, without a model: peak memory",
        f"  {memory / MIB:.0f} MiB, {seconds:.0f} s. Target: under 300 MB.",
        f"- `import ctxembed`: {import_seconds():.2f} s.",
    ]
    write_page(out, "Local weights against the reference", "nox -s bench", told, lines)


if __name__ == "__main__":
    main()
