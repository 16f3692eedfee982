"""The benchmark on a terminal: one column per type of arithmetic, and notes below."""

from collections.abc import Callable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ctxembed.cli.bench.result import Measured, Result
from ctxembed.cli.plurals import counted

_ABSENT = "-"

Line = tuple[str, Callable[[Measured], float | None], str]
"""A label, the figure of a column or None, and its format."""

_LINES: tuple[Line, ...] = (
    ("tokens/s", lambda row: row.tokens_per_second, "{:,.0f}"),
    ("chunks/s", lambda row: row.chunks_per_second, "{:,.1f}"),
    ("time to first vector", lambda row: row.first_vector, "{:.2f} s"),
    ("  start and imports", lambda row: row.started, "{:.2f} s"),
    ("  loading model and libraries", lambda row: row.loaded, "{:.2f} s"),
    ("  first embedding", lambda row: row.first, "{:.2f} s"),
    ("peak memory", lambda row: _mib(row.memory), "{:,.0f} MiB"),
    ("peak memory, fullest GPU", lambda row: _mib(row.device_memory), "{:,.0f} MiB"),
    ("useful GFLOP/s", lambda row: row.speed, "{:,.0f}"),
    ("GFLOP/s of bare products", lambda row: row.peak, "{:,.0f}"),
    ("share of that peak", lambda row: row.share, "{:.0%}"),
    ("waited for a core", lambda row: row.waited, "{:.0%}"),
    ("codes equal to float32's", lambda row: _agreed(row, "equal"), "{:.4%}"),
    ("largest difference", lambda row: _agreed(row, "largest"), "{:d}"),
    ("lowest cosine", lambda row: _agreed(row, "cosine"), "{:.6f}"),
    ("documents", lambda row: row.documents, "{:,}"),
    ("chunks", lambda row: row.chunks, "{:,}"),
    ("tokens read", lambda row: row.tokens, "{:,}"),
    ("seconds", lambda row: row.seconds, "{:.2f}"),
    ("  the fastest of runs", lambda row: row.runs, "{}"),
)
_BREAKS = ("chunks/s", "  first embedding", "waited for a core", "lowest cosine")


def show(result: Result, console: Console) -> None:
    """Print the table, and below it the notes, and what was measured with what."""
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
    for name, figure, form in _LINES:
        figures = [figure(row) for row in result.rows]
        if any(each is not None for each in figures):
            cells = (_ABSENT if each is None else form.format(each) for each in figures)
            table.add_row(name, *cells)
        if name in _BREAKS:
            table.add_section()
    return table


def _agreed(row: Measured, name: str) -> float | None:
    return None if row.agreement is None else getattr(row.agreement, name)


def _mib(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def say(event: dict[str, object], name: str, console: Console) -> None:
    """Print how far a process is."""
    match event:
        case {"event": "first", "at": float(at)}:
            line = f"first vector after {at:.1f} s, looking how many documents fit"
        case {"event": "chosen", "documents": int(documents), "tokens": int(tokens)}:
            size = f"{counted(documents, 'document')}, {counted(tokens, 'token')}"
            line = f"embedding {size}, about {event['estimate']:.0f} s per run"
        case {"event": "products"}:
            line = "measuring bare matrix products"
        case _:
            return
    console.print(Text(f"{name}: {line}"))
