"""Progress on standard error: the bar of `ctxembed embed`, and the stages of `ctxembed demo`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from ctxembed.cli.plurals import counted

if TYPE_CHECKING:
    from ctxembed.cli.embedding_run import Summary
    from ctxembed.evaluation.vectors import Watch


@contextmanager
def document_bar(*, show: bool, total: int | None) -> "Iterator[Callable[[Summary, int], None]]":
    """Give a function to call with what is done and the bytes read, of `total` bytes."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.fields[done]}"),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with progress.Progress(*columns, console=console, disable=not show) as bar:
        task = bar.add_task("", total=total, done="0 documents")

        def advance(done: "Summary", end: int) -> None:
            size = f"{counted(done.documents, 'document')}, {counted(done.chunks, 'chunk')}"
            bar.update(task, completed=end, done=size)

        yield advance


@contextmanager
def stages() -> Iterator["Watch"]:
    """Give a function that shows each stage: one bar on a terminal, one line elsewhere."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description:<12}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    bar = progress.Progress(*columns, console=console, transient=True)
    tasks: dict[str, progress.TaskID] = {}

    def watch(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done)
        if done == total and not console.is_terminal:
            console.print(f"{stage}: {total:,} embedded")

    with bar if console.is_terminal else nullcontext():
        yield watch
