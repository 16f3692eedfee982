"""`results/engines.md` from `results/engines.json`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from engines.names import ENGINES
from report import COLUMNS, failed, listed, markdown, row
from workloads import WORKLOADS

OPENING = """# The CPU path against the reference and other engines

Written by `nox -s bench-engines`; how it is measured stands in [README.md](../README.md).
"""


def write_table(found: Mapping, path: Path) -> None:
    """Write the tables of all that was measured."""
    lines = [OPENING, *listed(_machine(found)), ""]
    for workload in (name for name in WORKLOADS if name in found["work"]):
        work = found["work"][workload]
        lines += [
            f"## {WORKLOADS[workload].title.capitalize()}",
            "",
            _described(work, WORKLOADS[workload].layers),
            "",
        ]
        for threads in sorted(found["peaks"], key=int):
            lines += _section(found, workload, threads)
    text = "\n".join(lines)
    path.write_text(text)
    print(text)


def _described(work: Mapping, layers: int) -> str:
    counted = f"{work['documents']} documents, {work['chunks']} chunks, {work['tokens']:,} tokens"
    return f"{counted}, {layers} layers: {work['flops'] / 1e9:,.0f} GFLOP of useful work."


def _section(found: Mapping, workload: str, threads: str) -> Iterator[str]:
    took = {name: found["took"].get(f"{workload}/{threads}/{name}") for name in ENGINES}
    reference = took["reference"]
    if reference is None or "seconds" not in reference:
        return
    peaks = found["peaks"][threads]
    yield (
        "One thread on one core, CPU time:" if threads == "1" else f"{threads} threads, wall time:"
    )
    yield ""
    yield from markdown(
        COLUMNS,
        (
            failed(ENGINES[name].title, each["failed"])
            if "failed" in each
            else row(
                ENGINES[name].title,
                each,
                reference,
                found["work"][workload],
                peaks[ENGINES[name].peak],
            )
            for name, each in took.items()
            if each is not None
        ),
    )
    yield ""


def _machine(found: Mapping) -> dict[str, object]:
    """Return the machine, when and under what load it was measured, and with which versions."""
    took = found["took"].values()
    days = sorted({each["when"] for each in took})
    loads = [each["load"] for each in took]
    versions: dict[str, set[str]] = {}
    for each in took:
        for name, version in each.get("versions", {}).items():
            versions.setdefault(name, set()).add(version)
    peaks = "; ".join(
        f"{threads} threads: " + ", ".join(f"{name} {value:.0f}" for name, value in peaks.items())
        for threads, peaks in found["peaks"].items()
    )
    kept = {
        k: v for k, v in found["machine"].items() if k in ("Processor", "Instructions", "Memory")
    }
    return kept | {
        "Measured": f"{days[0]} to {days[-1]} UTC",
        "Load before each engine": f"{min(loads):.1f} to {max(loads):.1f}",
        "Versions": ", ".join(f"{name} {' and '.join(sorted(v))}" for name, v in versions.items()),
        "Peak of matrix products at the model's shapes, GFLOP/s": peaks,
    }
