"""The tables of `ctxembed demo` and `evaluate`, for a terminal of 80 columns or a file."""

import math
import textwrap
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ctxembed.evaluation.intervals import Estimate
from ctxembed.evaluation.metrics import METRICS
from ctxembed.evaluation.result import Change, Changes, Comparison, Hit
from ctxembed.evaluation.run import Run
from ctxembed.evaluation.words import INTERVALS, UNBEATEN, difference, seconds, summary

EXAMPLES = 2
"""How many queries are shown of each kind; the report has more."""

_EXCERPT = 140
_STYLES = {"up": "green", "down": "red", "unclear": ""}


def show(result: Comparison, console: Console) -> None:
    """Print tables, changed queries and the verdict."""
    console.print(summary(result), highlight=False)
    if result.simulated:
        console.print(Text(f"Queries: {result.simulated}."))
    console.print()
    console.print(_figures(result))
    console.print(_differences(result))
    console.print(Text(INTERVALS, "dim"))
    if len(result.methods) < len(result.runs):
        console.print()
        console.print(_sweep(result))
        console.print(Text(UNBEATEN, "dim"))
    if result.changes is not None:
        _show_changes(result.changes, console)
    console.print()
    console.print(Text(result.verdict, "bold"))


def _figures(result: Comparison) -> Table:
    table = _table("")
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for method in result.methods:
        cells = [_figure(method.figures[metric], ".3f") for metric in METRICS]
        table.add_row(method.name, *cells, f"{method.tokens:,}", seconds(method))
    return table


def _sweep(result: Comparison) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(", ".join(name for name, _ in result.runs[0].settings))
    for name in ("nDCG@10", "difference", "tokens", "seconds", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in result.runs:
        gain = run.gain["nDCG@10"]
        values = ", ".join(value for _, value in run.settings)
        table.add_row(
            f"{'+' if run.best else ' '} {values}{f' {run.name}' if run.name else ''}",
            f"{run.figures['nDCG@10'].value:.3f}",
            Text(difference(gain), _STYLES[gain.direction]),
            f"{run.tokens:,}",
            seconds(run),
            f"{run.bytes_per_chunk:,.0f}",
        )
    return table


def _differences(result: Comparison) -> Table:
    table = _table("difference")
    for method in result.methods[1:]:
        table.add_row(method.name, *(_difference(method.gain[metric]) for metric in METRICS))
    return table


def _table(first: str) -> Table:
    """Return a table whose columns for the metrics stand at the same place in every table."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True, min_width=11)
    for metric in METRICS:
        table.add_column(metric, justify="right", no_wrap=True, min_width=14)
    return table


def _difference(estimate: Estimate) -> Text:
    return _figure(estimate, "+.3f", difference(estimate), _STYLES[estimate.direction])


def _figure(estimate: Estimate, form: str, shown: str = "", style: str = "") -> Text:
    value = Text(shown or f"{estimate.value:{form}}", style)
    if math.isnan(estimate.low):
        return value
    return value.append(f"\n{estimate.low:{form}}..{estimate.high:{form}}", "dim")


def _show_changes(changes: Changes, console: Console) -> None:
    console.print(
        f"\nContext put a right chunk first for {changes.helped:,} queries and lost one for "
        f"{changes.hurt:,}; for {changes.other:,} another chunk is first, as right or as wrong.",
        highlight=False,
    )
    for helped, title in ((True, "It helped:"), (False, "It hurt:")):
        examples = [change for change in changes.examples if change.helped == helped]
        for change in examples[:EXAMPLES]:
            console.print()
            console.print(Text(f"{title} {change.query}"))
            console.print(_example(change))


def show_answers(runs: Sequence[Run], console: Console) -> None:
    """Print each query with the first chunk of every run, for a person to judge."""
    chunks = runs[0].corpus.chunks
    for number, query in enumerate(runs[0].corpus.queries):
        console.print(Text(f"\n{query.text}", "bold"))
        firsts = {run.name: chunks[run.hits[number, 0]] for run in runs}
        console.print(
            _lines({name: Text(f"{c.title}: ") + _short(c.text) for name, c in firsts.items()})
        )


def _example(change: Change) -> Padding:
    return _lines({"without": _excerpt(change.before), "with": _excerpt(change.after)})


def _lines(texts: Mapping[str, Text]) -> Padding:
    lines = Table.grid(padding=(0, 1))
    lines.add_column(no_wrap=True)
    lines.add_column()
    for each in texts.items():
        lines.add_row(*each)
    return Padding(lines, (0, 0, 0, 2))


def _excerpt(hit: Hit) -> Text:
    mark = Text("right  ", "green") if hit.relevant else Text("wrong  ", "red")
    return mark + _short(hit.text)


def _short(text: str) -> Text:
    return Text(textwrap.shorten(text, _EXCERPT, placeholder=" ..."))
