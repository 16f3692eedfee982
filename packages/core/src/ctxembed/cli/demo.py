"""`ctxembed demo`: retrieval with and without context, measured on real documents."""

from pathlib import Path
from typing import Annotated

import typer

from ctxembed.cli.local_backend import LocalBackend
from ctxembed.cli.options import with_settings
from ctxembed.settings import EMBEDDED_MODEL, Settings

_REPORT = Path("ctxembed-demo.html")


@with_settings("model", "device", "dtype", model=EMBEDDED_MODEL)
def demo(
    settings: Settings,
    *,
    backend: LocalBackend = "auto",
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of yours with docs.jsonl and queries.jsonl (or .gz)."),
    ] = None,
    chunk_tokens: Annotated[int, typer.Option(help="The most tokens per chunk.")] = 64,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The report, one HTML file. By default ctxembed-demo.html; for --data the name of "
            "its folder is added.",
        ),
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the report.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed for the draws of the intervals.")] = 0,
) -> None:
    """Embed real documents with and without context, and show what context changes.

    Without options: 23 fairy tales and 1,025 questions about them, with a small model that comes
    with the package. Nothing is downloaded.
    """
    from rich.console import Console

    from ctxembed.cli.comparison_table import show
    from ctxembed.cli.progress import stages
    from ctxembed.evaluation.demo import run_demo

    # a report of its own for each folder, so that it replaces no other
    folder = None if data is None else data.resolve().name or "root"
    path = out or (Path(f"{_REPORT.stem}-{folder}.html") if folder else _REPORT)
    with stages() as watch:
        result = run_demo(
            settings.model,
            data,
            chunk_tokens=chunk_tokens,
            out=path if report else None,
            backend=backend,  # type: ignore[arg-type]  # Settings refuses other values with a hint
            device=settings.device,
            dtype=settings.dtype,
            seed=seed,
            watch=watch,
        )
    show(result, Console())
    if report:
        typer.echo(f"\nReport: {path.absolute()}")
