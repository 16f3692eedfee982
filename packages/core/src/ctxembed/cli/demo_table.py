"""The tables of `ctxembed demo`, for a terminal of 80 columns or a file."""

import math
import textwrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ctxembed.cli.plurals import counted
from ctxembed.evaluation.intervals import Estimate
from ctxembed.evaluation.metrics import METRICS
from ctxembed.evaluation.result import Change, Changes, Comparison, Hit

EXAMPLES = 2
"""How many queries are shown of each kind; the report has more."""

_EXCERPT = 140
_LEGEND = (
    "Differences are to independent. Below each figure is its 95 % interval (whole "
    "documents drawn anew); * marks a difference whose interval lies on one side of 0."
)
_STYLES = {"up": "green", "down": "red", "unclear": ""}


def show(result: Comparison, console: Console) -> None:
    """Print tables, changed queries and the verdict."""
    left_out = f", {result.unanswered:,} more without an answer" if result.unanswered else ""
    queries = f"{result.queries:,} {'query' if result.queries == 1 else 'queries'}"
    console.print(
        f"{result.collection}: {counted(result.documents, 'document')}, "
        f"{counted(result.chunks, 'chunk')}, {queries}{left_out}",
        highlight=False,
    )
    console.print()
    console.print(_figures(result))
    console.print(_differences(result))
    console.print(Text(_LEGEND, "dim"))
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
        table.add_row(method.name, *cells, f"{method.tokens:,}", f"{method.seconds:.1f}")
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
    mark = "" if estimate.direction == "unclear" else "*"
    return _figure(estimate, "+.3f", mark, _STYLES[estimate.direction])


def _figure(estimate: Estimate, form: str, mark: str = "", style: str = "") -> Text:
    value = Text(f"{estimate.value:{form}}{mark}", style)
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


def _example(change: Change) -> Padding:
    lines = Table.grid(padding=(0, 1))
    lines.add_column(no_wrap=True)
    lines.add_column()
    lines.add_row("without", _excerpt(change.before))
    lines.add_row("with", _excerpt(change.after))
    return Padding(lines, (0, 0, 0, 2))


def _excerpt(hit: Hit) -> Text:
    mark = Text("right  ", "green") if hit.relevant else Text("wrong  ", "red")
    return mark + Text(textwrap.shorten(hit.text, _EXCERPT, placeholder=" ..."))
