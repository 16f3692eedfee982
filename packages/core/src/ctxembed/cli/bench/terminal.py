"""The benchmark on a terminal: a column a type of arithmetic, and what was not measured in words."""

from __future__ import annotations

from collections.abc import Callable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ctxembed.cli.bench.result import Measured, Result
from ctxembed.cli.plurals import counted

_MIB = 2**20
_ABSENT = "-"

Line = tuple[str, Callable[[Measured], str]]

_LINES: tuple[Line, ...] = (
    ("tokens/s", lambda row: f"{row.tokens_per_second:,.0f}"),
    ("chunks/s", lambda row: f"{row.chunks_per_second:,.1f}"),
    ("time to first vector", lambda row: f"{row.first_vector:.2f} s"),
    ("  start and imports", lambda row: f"{row.started:.2f} s"),
    ("  loading model and libraries", lambda row: f"{row.loaded:.2f} s"),
    ("  first embedding", lambda row: f"{row.first:.2f} s"),
    ("peak memory", lambda row: _bytes(row.memory)),
    ("peak memory, fullest GPU", lambda row: _bytes(row.device_memory)),
    ("useful GFLOP/s", lambda row: _number(row.speed)),
    ("GFLOP/s of bare products", lambda row: _number(row.peak)),
    ("share of that peak", lambda row: _percent(row.share)),
    ("waited for a core", lambda row: _percent(row.waited)),
    ("codes equal to float32's", lambda row: _agrees(row, "equal", ".4%")),
    ("largest difference", lambda row: _agrees(row, "largest", "d")),
    ("lowest cosine", lambda row: _agrees(row, "cosine", ".6f")),
    ("documents", lambda row: f"{row.documents:,}"),
    ("chunks", lambda row: f"{row.chunks:,}"),
    ("tokens read", lambda row: f"{row.tokens:,}"),
    ("seconds", lambda row: f"{row.seconds:.2f}"),
    ("  the fastest of runs", lambda row: f"{row.runs}"),
)
_BREAKS = ("chunks/s", "  first embedding", "waited for a core", "lowest cosine")


def show(result: Result, console: Console) -> None:
    """Print the table, and below it what was measured on what."""
    console.print(Text(f"{result.model}, {result.data}"))
    console.print()
    console.print(_table(result))
    console.print()
    for note in result.notes():
        console.print(Text(f"- {note}"))
    if result.notes():
        console.print()
    facts = Table.grid(padding=(0, 2))
    for name, value in result.facts.items():
        facts.add_row(Text(name, "dim"), Text(value))
    console.print(facts)


def _table(result: Result) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for row in result.rows:
        table.add_column(row.name, justify="right", no_wrap=True)
    for name, cell in _LINES:
        cells = [cell(row) for row in result.rows]
        if any(each != _ABSENT for each in cells):
            table.add_row(name, *cells)
        if name in _BREAKS:
            table.add_section()
    return table


def _bytes(value: int | None) -> str:
    return _ABSENT if value is None else f"{value / _MIB:,.0f} MiB"


def _number(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:.0%}"


def _agrees(row: Measured, name: str, form: str) -> str:
    return _ABSENT if row.agreement is None else format(getattr(row.agreement, name), form)


def say(event: dict[str, object], name: str, console: Console) -> None:
    """Tell how far a process is."""
    line = ""
    match event:
        case {"event": "first", "at": float(at)}:
            line = f"first vector after {at:.1f} s, looking how many documents fit"
        case {"event": "chosen", "documents": int(documents), "tokens": int(tokens)}:
            size = f"{counted(documents, 'document')}, {counted(tokens, 'token')}"
            line = f"embedding {size}, about {event['estimate']:.0f} s a run"
        case {"event": "products"}:
            line = "measuring bare matrix products"
    if line:
        console.print(Text(f"{name}: {line}"))
