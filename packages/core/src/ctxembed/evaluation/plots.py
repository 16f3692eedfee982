"""The report's plots, as SVG that takes its colours from the page it stands in.

Matplotlib draws with stand-in colours; each is then replaced by a CSS variable of the report's
style sheet, so that one drawing serves light and dark.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ctxembed.evaluation.intervals import Estimate
from ctxembed.evaluation.metrics import METRICS
from ctxembed.evaluation.result import HeatMap, RunResult

_INK, _FAINT = "#010203", "#010204"
_COLORS = {"independent": "#010205", "contextual": "#010206", "neighbours": "#010207"}
_VARIABLES = {
    _INK: "var(--ink)",
    _FAINT: "var(--line)",
    **{color: f"var(--{name})" for name, color in _COLORS.items()},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def figures_svg(methods: Sequence[RunResult]) -> str:
    """Return bars of every metric and method, and differences to independent, with intervals."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "figures"}):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        bars, gains = figure.subplots(1, 2, width_ratios=[3, 2])
        _draw_bars(bars, methods)
        _draw_gains(gains, methods[1:])
        figure.legend(
            *bars.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False
        )
        return _svg(figure)


def _draw_bars(axes: Axes, methods: Sequence[RunResult]) -> None:
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        estimates = [method.figures[metric] for metric in METRICS]
        places = np.arange(len(METRICS)) + (number - (len(methods) - 1) / 2) * width
        axes.bar(
            places,
            [estimate.value for estimate in estimates],
            width * 0.9,
            color=_COLORS.get(method.name, _INK),
            label=method.name,
            yerr=_arms(estimates),
            error_kw={"ecolor": _INK, "elinewidth": 1.2, "capsize": 3},
        )
    axes.set_xticks(range(len(METRICS)), METRICS)
    axes.tick_params(axis="x", length=0)
    axes.set_title("Each method, with 95 % intervals", loc="left")
    axes.set_ylim(bottom=0)


def _draw_gains(axes: Axes, methods: Sequence[RunResult]) -> None:
    axes.axvline(0, color=_INK, linewidth=0.8)
    for number, method in enumerate(methods):
        estimates = [method.gain[metric] for metric in METRICS]
        places = np.arange(len(METRICS)) + (number - (len(methods) - 1) / 2) * 0.28
        axes.errorbar(
            [estimate.value for estimate in estimates],
            places,
            xerr=_arms(estimates),
            fmt="o",
            color=_COLORS.get(method.name, _INK),
            markersize=6,
            capsize=3,
        )
    axes.set_yticks(range(len(METRICS)), METRICS)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(y=0.15)
    axes.xaxis.set_major_formatter("{x:+.2f}")
    axes.set_title("More or less than independent", loc="left")


def sweep_svg(runs: Sequence[RunResult]) -> str:
    """Return the quality of every run against what it reads and what it stores, with intervals.

    Those that no other beats are filled.
    """
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "sweep"}):
        figure = Figure(figsize=(9.2, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        first = runs[0]
        costs = {
            left: ("tokens read", [run.tokens / first.tokens for run in runs]),
            right: ("bytes stored", [run.stored_bytes / first.stored_bytes for run in runs]),
        }
        for axes, (title, values) in costs.items():
            for run, cost in zip(runs, values, strict=True):
                found = run.figures["nDCG@10"]
                color = _COLORS.get(run.name, _INK)
                axes.errorbar(
                    [cost],
                    [found.value],
                    yerr=_arms([found]),
                    fmt="o",
                    color=color,
                    markerfacecolor=color if run.best else "none",
                    elinewidth=0.6,
                )
            axes.set_xlim(left=0)
            axes.set_xlabel(f"{title}, as a multiple of the first row")
        left.set_ylabel("nDCG@10")
        left.set_title("Filled: no other run beats it", loc="left")
        return _svg(figure)


def _arms(estimates: Sequence[Estimate]) -> list[list[float]] | None:
    """Return the lengths below and above each value, None where there are no intervals."""
    if any(math.isnan(estimate.low) for estimate in estimates):
        return None
    return [
        [estimate.value - estimate.low for estimate in estimates],
        [estimate.high - estimate.value for estimate in estimates],
    ]


def heat_map_svg(shown: HeatMap) -> str:
    """Return the two matrices of cosines beside each other, on one colour scale."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "heat-map"}):
        figure = Figure(figsize=(9.2, 4.4), layout="constrained")
        both = figure.subplots(1, 2, sharey=True)
        low, high = _scale(shown)
        for axes, matrix, title in zip(
            both,
            (shown.independent, shown.contextual),
            ("independent", "contextual"),
            strict=True,
        ):
            image = axes.imshow(matrix, vmin=low, vmax=high, cmap="viridis", interpolation="none")
            axes.set_title(title, loc="left")
            axes.set_xlabel("chunk")
            axes.spines[:].set_visible(False)
        both[0].set_ylabel("chunk")
        bar = figure.colorbar(image, ax=both, shrink=0.9, extend="max", label="cosine")
        bar.outline.set_visible(False)
        return _svg(figure)


def _scale(shown: HeatMap) -> tuple[float, float]:
    """Return the range of cosines between different chunks, both matrices taken together."""
    size = len(shown.independent)
    if size == 1:
        return 0.0, 1.0
    others = ~np.eye(size, dtype=bool)
    values = np.concatenate([shown.independent[others], shown.contextual[others]])
    return float(values.min()), float(values.max())


def _svg(figure: Figure) -> str:
    """Return the drawing as an element for an HTML page, in the page's colours."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    return svg
