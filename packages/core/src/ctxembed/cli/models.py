"""`ctxembed models`: the table of models that ctxembed knows facts of."""

import sys

from ctxembed.models import MODELS, ModelSpec

COLUMNS = ("name", "dimensions", "window", "contextual", "USD/1M", "note")
_NUMBERS = ("dimensions", "window", "USD/1M")


def models() -> None:
    """List the models that ctxembed knows; any other hub id or directory works too.

    The window is in tokens, the price in USD for a million tokens over the API. Contextual models
    were trained to read all chunks of a document together.
    """
    if not sys.stdout.isatty():
        for cells in (COLUMNS, *map(_cells, MODELS)):
            print(*cells, sep="\t")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in COLUMNS[:-1]:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True)
    for spec in MODELS:
        table.add_row(*_cells(spec)[:-1])
    console = Console(highlight=False)
    console.print(table)
    for spec in MODELS:
        if spec.note:
            console.print(f"\n{spec.name}: {spec.note}", markup=False, end="")
    console.print()


def _cells(spec: ModelSpec) -> tuple[str, ...]:
    price = "" if spec.price is None else f"{spec.price:g}"
    contextual = "yes" if spec.contextual else "no"
    numbers = (str(spec.dimensions), str(spec.window_tokens))
    return (spec.name, *numbers, contextual, price, spec.note)
