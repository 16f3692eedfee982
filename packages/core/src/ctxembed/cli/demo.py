"""`ctxembed demo`: context or not, measured on real documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ctxembed.settings import EMBEDDED_MODEL

_REPORT = Path("ctxembed-demo.html")


def demo(
    *,
    model: Annotated[
        str, typer.Option(help="Hub id, directory, or a name from `ctxembed models`.")
    ] = EMBEDDED_MODEL,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of yours with docs.jsonl and queries.jsonl (or .gz)."),
    ] = None,
    chunk_tokens: Annotated[int, typer.Option(help="Tokens that a chunk has at the most.")] = 64,
    backend: Annotated[
        str, typer.Option(metavar="auto|torch|onnx", help="What runs the model.")
    ] = "auto",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1, ...; without it the first GPU if any.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="auto|float32|bfloat16|int8", help="Arithmetic of the model.")
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The report, one HTML file; without it ctxembed-demo.html here, for --data "
            "ctxembed-demo-FOLDER.html.",
        ),
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the report.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals' draws.")] = 0,
) -> None:
    """Embed real documents with and without context, and see what it changes.

    Without options: 23 fairy tales and 1,025 questions about them, on a small model that came with
    the package. Nothing is fetched.
    """
    from rich.console import Console

    from ctxembed.cli.demo_table import show, watching
    from ctxembed.evaluation.demo import run_demo

    path = out or _default(data)
    with watching() as watch:
        result = run_demo(
            model,
            data,
            chunk_tokens=chunk_tokens,
            out=path if report else None,
            backend=backend,  # type: ignore[arg-type]  # Settings refuses other values with a hint
            device=device,
            dtype=dtype,  # type: ignore[arg-type]
            seed=seed,
            watch=watch,
        )
    show(result, Console())
    if report:
        typer.echo(f"\nReport: {path.absolute()}")


def _default(data: Path | None) -> Path:
    """Return a report of its own for a folder, so that it replaces no other."""
    return (
        _REPORT if data is None else Path(f"{_REPORT.stem}-{data.resolve().name or 'root'}.html")
    )
