"""`ctxembed models`: the table of models that ctxembed knows facts of."""

from __future__ import annotations

import sys

from ctxembed.models import MODELS, ModelSpec

COLUMNS = ("name", "dimensions", "window", "contextual", "USD/1M tokens", "note")


def models() -> None:
    """List the models with facts of their own; any other hub id or directory works as well."""
    if not sys.stdout.isatty():
        for cells in (COLUMNS, *map(_cells, MODELS)):
            print(*cells, sep="\t")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        number = name in ("dimensions", "window", "USD/1M tokens")
        table.add_column(
            name, justify="right" if number else "left", no_wrap=name == "name", overflow="fold"
        )
    for spec in MODELS:
        table.add_row(*_cells(spec))
    Console().print(table)


def _cells(spec: ModelSpec) -> tuple[str, ...]:
    price = "" if spec.price is None else f"{spec.price:g}"
    contextual = "yes" if spec.contextual else "no"
    return (
        spec.name,
        str(spec.dimensions),
        str(spec.window_tokens),
        contextual,
        price,
        spec.note,
    )
