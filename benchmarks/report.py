"""The table that `foundation.py` prints and writes: Markdown from what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ctxembed.cli.bench.agreement import agreement

ROUTES = {
    "reference": "reference: float32 `AutoModel`, batches of 32 padded to the longest",
    "float32": "ctxembed, float32",
    "bfloat16": "ctxembed, bfloat16",
}
TARGETS = {"float32": 3.5, "bfloat16": 6.5}
MIB = 2**20
COLUMNS = (
    "",
    "tokens/s",
    "ratio",
    "GFLOP/s",
    "share of peak",
    "equal codes",
    "largest difference",
    "lowest cosine",
    "peak memory",
    "wall / CPU",
)


@dataclass(frozen=True)
class Measured:
    """Seconds and bytes of each route, its codes, and what the work was."""

    counts: list[int]
    flops: float
    routes: Mapping[str, Mapping[str, float]]
    codes: Mapping[str, np.ndarray]
    peaks: Mapping[str, float]

    def ratio(self, name: str) -> float:
        """Return how many times the reference a route is."""
        return self.routes["reference"]["cpu"] / self.routes[name]["cpu"]


def row(name: str, measured: Measured) -> list[str]:
    """Return the cells of one route."""
    each = measured.routes[name]
    speed = measured.flops / each["cpu"] / 1e9
    peak = measured.peaks.get(name, measured.peaks["float32"])
    found = agreement(measured.codes["reference"], measured.codes[name])
    return [
        ROUTES[name],
        f"{sum(measured.counts) / each['cpu']:,.0f}",
        f"{measured.ratio(name):.2f}",
        f"{speed:.0f}",
        f"{speed / peak:.0%}",
        f"{found.equal:.4%}",
        str(found.largest),
        f"{found.cosine:.6f}",
        f"{each['memory'] / MIB:,.0f} MiB",
        f"{each['wall'] / each['cpu']:.2f}",
    ]


def report(measured: Measured) -> list[str]:
    """Return the lines of the table, of the peaks and of the targets."""
    cells = [COLUMNS, ["---"] * len(COLUMNS), *(row(name, measured) for name in ROUTES)]
    peaks = ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in measured.peaks.items())
    lines = [f"| {' | '.join(each)} |" for each in cells]
    lines += ["", f"Peak of matrix products at the model's shapes, one core: {peaks}.", ""]
    for name, target in TARGETS.items():
        verdict = "met" if measured.ratio(name) >= target else "missed"
        lines.append(f"- Target for {name}: {target} times the reference. {verdict.capitalize()}.")
    return lines
