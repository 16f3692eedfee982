"""What a directory of shards costs over a plain loop, and what a kill costs.

    python benchmarks/bulk.py [--runs 5] [--kills 20] [--out FILE]

Overhead is in CPU time of the process, without loading the model: documents on lines into a
directory against a loop that parses the same lines and streams them, in turn; medians. Two workers
against one are whole commands by the clock, so the machine has to be quiet. Memory is the largest
that the process ever had. Kills are SIGKILL to the whole group at random moments, after which the
same command runs again; what is embedded is counted by the model itself.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pyarrow.dataset as ds
from machine import describe
from report import markdown, write_page

from ctxembed import Embedder, Settings

RESULTS = Path(__file__).parent / "results" / "bulk.md"
FAKE = """
import os, sys, time
from dataclasses import replace
from ctxembed import embedder
from ctxembed.testing import FakeBackend
from ctxembed.testing.fake import _SPEC

def told(batch):
    with open(os.path.join({counts!r}, str(os.getpid())), "a") as file:
        file.write(str(len({{window.document for window in batch.windows}})) + "\\n")
    time.sleep({seconds})

spec = replace(_SPEC, dimensions={dimensions})
embedder.open_backend = lambda *_: FakeBackend(spec, fault=told, record=False)
if __name__ == "__main__":
    from ctxembed.cli import main
    main()
"""
WORDS = ["mill", "ferry", "bakery", "orchard", "school", "bridge", "tannery", "market", "chapel"]


def documents(count: int, version: int = 0, chunks: int = 8) -> list[dict[str, object]]:
    """Return documents of short chunks, no two chunks alike."""
    return [
        {
            "id": f"d{n}",
            "chunks": [
                f"The {WORDS[(n + part) % 9]} of {n} stood for {part} years, {version} times."
                for part in range(chunks)
            ],
        }
        for n in range(count)
    ]


def write_lines(path: Path, given: list[dict[str, object]]) -> Path:
    """Write documents as lines of JSON."""
    path.write_text("".join(f"{json.dumps(each)}\n" for each in given))
    return path


def overhead(folder: Path, count: int, shard: int, runs: int) -> list[object]:
    """Return a row: CPU milliseconds per document by a loop and by a directory of minilm."""
    from ctxembed.bulk.run import Options, embed_directory
    from ctxembed.files.inputs import find_inputs

    path = write_lines(folder / "overhead.jsonl", documents(count))
    plain, whole = [], []
    with Embedder.open(model="minilm") as embedder:  # weights stay loaded for both

        def loop() -> None:
            with path.open("rb") as file:
                for _ in embedder.stream(json.loads(line)["chunks"] for line in file):
                    pass

        loop()
        for run in range(runs):
            options = Options(shard_documents=shard)
            root = folder / f"overhead-{shard}-{run}"
            plain.append(cpu(loop))
            whole.append(
                cpu(
                    lambda root=root, options=options: embed_directory(
                        find_inputs([str(path)]), root, Settings(model="minilm"), options
                    )
                )
            )
    one, two = median(plain) / count * 1000, median(whole) / count * 1000
    return [shard, f"{one:.2f}", f"{two:.2f}", f"{two - one:+.3f}", f"{two / one - 1:+.1%}"]


def cpu(function: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, of all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


def command(*arguments: object, program: Path | None = None) -> list[str]:
    """Return a command line of ctxembed, on the model that is asked for or on a fake one."""
    start = [str(program)] if program else ["-m", "ctxembed.cli"]
    return [sys.executable, *start, *map(str, arguments)]


def workers(folder: Path, count: int, runs: int) -> Iterator[list[object]]:
    """Yield a row per number of workers: seconds by the clock of whole commands with minilm."""
    path = write_lines(folder / "workers.jsonl", documents(count))
    took: dict[int, list[float]] = {1: [], 2: []}
    for run in range(runs):
        for number, seconds in took.items():
            out = folder / f"workers-{number}-{run}/"
            start = time.perf_counter()
            line = command("embed", path, "-o", f"{out}/", "--model", "minilm")
            subprocess.run([*line, "--workers", str(number), "--no-progress"], check=True)
            seconds.append(time.perf_counter() - start)
    for number, seconds in took.items():
        ratio = median(took[1]) / median(seconds)
        yield [number, f"{median(seconds):.1f}", f"{ratio:.2f}"]


def fake_program(folder: Path, seconds: float = 0.0, dimensions: int = 16) -> Path:
    """Return a program that embeds without weights, and counts what it embeds."""
    counts = folder / "counts"
    counts.mkdir(exist_ok=True)
    path = folder / f"fake-{seconds}-{dimensions}.py"
    path.write_text(FAKE.format(counts=str(counts), seconds=seconds, dimensions=dimensions))
    return path


def counted(folder: Path) -> int:
    """Return how many documents the fake model has embedded in this folder."""
    files = (folder / "counts").iterdir()
    return sum(int(line) for path in files for line in path.read_text().splitlines())


def sizes(folder: Path) -> Iterator[list[object]]:
    """Yield rows: seconds of a run with nothing to do, and memory of a large one."""
    program = fake_program(folder)
    for count in (100_000, 1_000_000):
        path = write_lines(folder / f"{count}.jsonl", documents(count, chunks=1))
        line = command("embed", path, "-o", folder / str(count), program=program)
        for what in ("all new", "nothing to do"):
            start = time.perf_counter()
            process = subprocess.Popen([*line, "--no-progress"])
            _, _, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            yield [f"{count:,}", what, f"{seconds:.1f}", f"{usage.ru_maxrss / 1024:.0f} MiB"]


def edits(folder: Path) -> Iterator[list[object]]:
    """Yield rows: how many of 5,000 documents are embedded when some of them are edited."""
    given = documents(5000, chunks=2)
    path = write_lines(folder / "edits.jsonl", given)
    line = command("embed", path, "-o", folder / "edits", program=fake_program(folder))
    subprocess.run([*line, "--no-progress"], check=True)
    for number in (0, 1, 50, 500):
        before = counted(folder)
        changed = documents(number, version=number, chunks=2)
        added = [{**each, "id": f"new {number} {each['id']}"} for each in changed[:5]]
        given = [*added, *changed, *given[number:-1]]
        write_lines(path, given)
        subprocess.run([*line, "--no-progress", "--prune"], check=True)
        yield [number, len(added), 1, counted(folder) - before]


def kills(folder: Path, number: int, trials: int) -> list[object]:
    """Return a row: rows twice, lost or wrong, and embedded again, after so many kills."""
    chance = random.Random(number)
    again, twice, lost = [], 0, 0
    for trial in range(trials):
        here = folder / f"kills-{number}-{trial}"
        here.mkdir()
        path = write_lines(here / "in.jsonl", documents(200, chunks=2))
        options = ("--shard-documents", 20, "--workers", number, "--no-progress")
        line = command(
            "embed", path, "-o", here / "v", *options, program=fake_program(here, seconds=0.02)
        )
        process = subprocess.Popen(line, start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.5, 4.0))
        os.killpg(process.pid, 9)
        process.wait()
        subprocess.run(line, check=True, stderr=subprocess.DEVNULL)
        table = ds.dataset(here / "v/data", format="parquet").to_table()
        rows = list(zip(table["id"].to_pylist(), table["chunk_index"].to_pylist(), strict=True))
        twice += len(rows) - len(set(rows))
        lost += 400 - len(set(rows))
        again.append(counted(here) - 200)
    return [number, trials, twice, lost, f"{sum(again) / trials:.1f}", max(again)]


def main() -> None:
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with TemporaryDirectory() as name:
        folder = Path(name)
        lines = ["## Against a plain loop, minilm, 2,000 documents of 8 chunks", ""]
        head = ("documents a shard", "loop, ms", "directory, ms", "difference, ms", "share")
        rows = [overhead(folder, 2000, shard, given.runs) for shard in (50, 200, 1000)]
        lines += [*markdown(head, rows), "", "## Workers, minilm, 4,000 documents", ""]
        lines += markdown(("workers", "seconds", "times one"), workers(folder, 4000, given.runs))
        lines += ["", "## Size, without a model", ""]
        head = ("documents", "run", "seconds", "memory")
        lines += [*markdown(head, sizes(folder)), "", "## Edits of 5,000 documents", ""]
        head = ("edited", "added in front", "removed", "embedded")
        lines += [*markdown(head, edits(folder)), "", "## SIGKILL at random moments", ""]
        head = ("workers", "kills", "rows twice", "rows lost", "embedded again, mean", "most")
        lines += markdown(head, [kills(folder, number, given.kills) for number in (1, 3)])
    write_page(given.out, "A directory of shards", "python benchmarks/bulk.py", describe(), lines)


if __name__ == "__main__":
    main()
