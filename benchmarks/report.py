"""Tables in Markdown from what was measured, and how far vectors agree."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

MIB = 2**20
LEAST_COSINE = 0.98
"""Below it an engine's vectors are others than the reference's, and its time counts for nothing."""

COLUMNS = (
    "",
    "tokens/s",
    "x reference",
    "GFLOP/s",
    "share of peak",
    "equal codes",
    "largest difference",
    "lowest cosine",
    "peak memory",
    "ready after",
    "runs",
    "wall / CPU",
)


def cosines(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of rows."""
    one, two = expected.astype(float), found.astype(float)
    return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def agreement(expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Return the share of equal codes, the largest difference, and the lowest cosine of a row."""
    from ctxembed.cli.bench.agreement import agreement as agree  # not where peers run

    return asdict(agree(expected, found))


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table."""
    cells = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(map(str, each))} |" for each in cells]


def listed(told: Mapping[str, object]) -> list[str]:
    """Return the lines of a list of facts."""
    return [f"- {name}: {value}" for name, value in told.items()]


def write_page(
    out: Path, title: str, command: str, told: Mapping[str, object], lines: Iterable[str]
) -> None:
    """Print and write a page of results: its title, the command that wrote it, facts, the rest."""
    opening = [
        f"# {title}",
        "",
        f"Written by `{command}`; how it is measured stands in [README.md](../README.md).",
        "",
        *listed(told),
        "",
    ]
    text = "\n".join([*opening, *lines]).strip() + "\n"
    print(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)


def row(
    title: str,
    took: Mapping[str, float],
    reference: Mapping[str, float],
    work: Mapping[str, float],
    peak: float,
) -> list[str]:
    """Return the cells of an engine that ran: `work` is tokens and FLOPs, `peak` is in GFLOP/s."""
    rate = work["flops"] / took["seconds"] / 1e9
    same = took["cosine"] >= LEAST_COSINE
    return [
        title,
        f"{work['tokens'] / took['seconds']:,.0f}",
        f"{reference['seconds'] / took['seconds']:.2f}" if same else "other vectors",
        f"{rate:.0f}",
        f"{rate / peak:.0%}" if peak else "",
        f"{took['equal']:.3%}",
        str(took["largest"]),
        f"{took['cosine']:.5f}",
        f"{took['memory'] / MIB:,.0f} MiB",
        f"{took['ready']:.1f} s",
        str(took["runs"]),
        f"{took['wall'] / took['cpu']:.2f}",
    ]


def failed(title: str, why: str) -> list[str]:
    """Return the cells of an engine that did not run."""
    return [title, f"not run: {why}", *[""] * (len(COLUMNS) - 2)]
