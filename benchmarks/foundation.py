"""Measures this project's local weights against the reference approach; prints and writes a table.

`nox -s bench`, or `python benchmarks/foundation.py` where ctxembed[torch,cli] is installed. Takes
about four minutes on two cores, most of it the reference.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import stream
from machine import describe
from material import CHUNKS, DOCUMENTS, LAYERS, prepare, token_counts, useful_flops
from report import MIB, ROUTES, TARGETS, Measured, report

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "foundation.md"
IMPORTS = 7


def run(script: str, *arguments: object) -> dict[str, float]:
    """Run a script in a process of its own and return the JSON of its last line."""
    print(f"measuring {arguments[0]} ...", file=sys.stderr)
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path) -> Measured:
    """Return what every route took, and its codes."""
    counts = token_counts(folder)
    return Measured(
        counts=counts,
        flops=useful_flops(counts),
        peaks={name: run("routes.py", f"peak-{name}", folder)["gflops"] for name in TARGETS},
        routes={name: run("routes.py", name, folder) for name in ROUTES},
        codes={name: np.load(folder / f"{name}.npy") for name in ROUTES},
    )


def stream_lines() -> Iterator[bytes]:
    """Yield documents as the command line reads them; none is kept."""
    for number in range(stream.DOCUMENTS):
        words = "some words " * 19
        chunks = [f"chunk {index} of {number} {words}" for index in range(stream.CHUNKS)]
        yield json.dumps({"id": str(number), "chunks": chunks}).encode() + b"\n"


def stream_memory(folder: Path) -> tuple[float, float]:
    """Return the peak memory and the seconds of `ctxembed embed` over many chunks."""
    print("measuring the command line ...", file=sys.stderr)
    script, out = HERE / "stream.py", folder / "out.parquet"
    command = [sys.executable, str(script), "embed", "-", "-o", str(out)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
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
    machine = describe()
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        measured = measure(Path(name))
        memory, seconds = stream_memory(Path(name))
    counts, rows = measured.counts, len(measured.codes["reference"])
    streamed = f"{stream.DOCUMENTS * stream.CHUNKS:,} chunks of {stream.WIDTH} dimensions"
    told, table = "\n".join(f"- {k}: {v}" for k, v in machine.items()), "\n".join(report(measured))
    text = f"""# Local weights against the reference

Written by `nox -s bench`; how it is measured stands in [README.md](../README.md).

{told}

{DOCUMENTS} documents of {CHUNKS[0]} to {CHUNKS[1]} chunks: {rows} chunks, {sum(counts):,} tokens,
{min(counts)} to {max(counts)} a document. Random weights in the shapes of Qwen3-0.6B, {LAYERS} layers.
From strings to int8 codes, in CPU time of one thread on one core.

{table}
- `ctxembed embed` on {streamed}, from a pipe to Parquet, without a model: peak memory
  {memory / MIB:.0f} MiB, {seconds:.0f} s. Target: under 300 MB.
- `import ctxembed`: {import_seconds():.2f} s. Target: under 0.3 s.
"""
    print(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
