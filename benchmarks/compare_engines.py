"""This project's CPU path against the reference and other engines, every engine in its own process.

    python benchmarks/compare_engines.py              # everything: 25 to 30 minutes
    python benchmarks/compare_engines.py --workload short --threads 1   # a part, merged
    python benchmarks/compare_engines.py --engine ctxembed-float32 --engine vllm-float32
    python benchmarks/compare_engines.py --report     # write the table again, run nothing

`nox -s bench-engines` makes the environments and passes the options on. What was measured is kept
in `results/engines.json`; the table is made from all of it.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from engine_tables import write_table
from engines.names import ENGINES
from engines.timing import cores
from machine import describe
from processes import run
from report import agreement
from workloads import WORKLOADS, kept, prepare, read, token_counts, useful_flops

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "engines.json"
FOLDER = HERE.parent / ".bench"
SAME_MACHINE = ("Processor", "Instructions")
PEAKS = ("float32", "bfloat16", "int8")


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = [name for name in WORKLOADS if name != "tiny"]
    every = sorted({1, cores()})
    add = parser.add_argument
    add("--workload", action="append", choices=[*WORKLOADS], help="default: all but tiny")
    add("--engine", action="append", choices=[*ENGINES], help="default: all")
    add("--threads", action="append", type=int, help="1: CPU time on one core; more: wall time")
    add("--python", action="append", default=[], metavar="ENVIRONMENT=PATH", help="e.g. vllm=...")
    add("--folder", type=Path, default=FOLDER, help="checkpoints and exports, kept for next time")
    add("--results", type=Path, default=RESULTS, help="what is merged; the table lies beside it")
    add("--fresh", action="store_true", help="forget earlier results")
    add("--report", action="store_true", help="write the table only")
    told = parser.parse_args()
    told.workload, told.engine = told.workload or usual, told.engine or [*ENGINES]
    told.threads = told.threads or every
    told.python = {"main": sys.executable} | dict(each.split("=", 1) for each in told.python)
    return told


def earlier(path: Path, *, fresh: bool) -> dict:
    """Return the results so far, of this machine."""
    machine = describe()
    if path.is_file() and not fresh:
        found = json.loads(path.read_text())
        if any(found["machine"][name] != machine[name] for name in SAME_MACHINE):
            raise SystemExit(f"{path} is of another machine. --fresh starts anew.")
        return found
    return {"machine": machine, "work": {}, "peaks": {}, "took": {}}


def work_of(folder: Path, workload: str) -> dict[str, float]:
    """Return what a workload asks for."""
    checkpoint, documents = read(folder, workload)
    counts = token_counts(checkpoint, documents)
    flops = useful_flops(counts, WORKLOADS[workload].layers)
    chunks = sum(map(len, documents))
    return {"documents": len(counts), "chunks": chunks, "tokens": sum(counts), "flops": flops}


def ready_form(folder: Path, workload: str, form: str | None) -> None:
    """Export a checkpoint into the form that an engine reads, unless it is there.

    Where that fails the engine fails too, and says that the file is missing.
    """
    checkpoint = folder / f"checkpoint-{WORKLOADS[workload].layers}"
    done = checkpoint / f"{form}.exported"
    if form and not done.is_file():
        found = run("engines.export", form, checkpoint)
        if "failed" not in found:
            done.touch()
        else:
            print(found["failed"], file=sys.stderr)


def measure(told: argparse.Namespace, name: str, workload: str, threads: int) -> dict[str, object]:
    """Return what an engine took and how far its codes are the reference's."""
    engine = ENGINES[name]
    stamp = {"when": datetime.now(UTC).isoformat(timespec="minutes"), "load": os.getloadavg()[0]}
    if workload in engine.omit:
        return stamp | {"failed": engine.omit[workload]}
    python = told.python.get(engine.environment, f"no environment named {engine.environment}")
    ready_form(told.folder, workload, engine.form)
    took = run("engines", name, workload, threads, told.folder, python=python)
    if "failed" in took:
        return stamp | took
    codes = {
        each: np.load(told.folder / f"{workload}-{each}-{threads}.npy")
        for each in ("reference", name)
    }
    return stamp | took | agreement(codes["reference"], codes[name])


def main() -> None:
    """Measure what is asked for, a result saved as soon as it is there, and write the table."""
    told = options()
    told.folder = kept(told.folder)
    found = earlier(told.results, fresh=told.fresh)
    for workload in [] if told.report else told.workload:
        prepare(told.folder, workload)
        found["work"][workload] = work_of(told.folder, workload)
        for threads in told.threads:
            for name in PEAKS:
                peaks = found["peaks"].setdefault(str(threads), {})
                reached = run("engines.peak", name, threads).get("gflops", 0.0)
                peaks[name] = max(peaks.get(name, 0.0), reached)
            for name in told.engine:
                key = f"{workload}/{threads}/{name}"
                found["took"][key] = measure(told, name, workload, threads)
                told.results.write_text(json.dumps(found, indent=1))
    write_table(found, told.results.with_suffix(".md"))


if __name__ == "__main__":
    main()
