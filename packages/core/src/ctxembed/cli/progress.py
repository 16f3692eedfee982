"""The progress bar of `ctxembed embed`, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ctxembed.cli.plurals import counted
from ctxembed.files.documents import Document


@contextmanager
def progress_bar(*, show: bool, total: int | None) -> Iterator[Callable[[Document], None]]:
    """Give a function to call after each document; `total` is the input's bytes where known."""
    if not show:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.fields[done]}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    documents = chunks = 0
    with Progress(*columns, console=Console(stderr=True)) as bar:

        def done() -> str:
            return f"{counted(documents, 'document')}, {counted(chunks, 'chunk')}"

        task = bar.add_task("", total=total, done=done())

        def advance(document: Document) -> None:
            nonlocal documents, chunks
            documents += 1
            chunks += len(document.chunks)
            bar.update(task, completed=document.end, done=done())

        yield advance
