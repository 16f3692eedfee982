"""Progress on standard error: of `ctxembed embed`, a bar or lines; of `ctxembed demo`, stages."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import TYPE_CHECKING, TypedDict

from ctxembed.cli.plurals import counted
from ctxembed.progress import Progress, clock_time

if TYPE_CHECKING:
    from ctxembed.evaluation.shared_vectors import Watch

_SECONDS_BETWEEN_LINES = 30

WatchBytes = Callable[[Progress, int], None]
"""Takes how far a run is, and the bytes of its input that were read."""


class Shown(TypedDict):
    """What is shown: a bar, lines, both or nothing."""

    bar: bool
    lines: bool


def shown(progress: bool | None, *, beside_output: bool = False) -> Shown:  # noqa: FBT001 - an option's value
    """Return what is shown where `--progress` is given so; lines where there is no terminal.

    `beside_output`, a terminal that shows the output has no bar unasked.
    """
    terminal = sys.stderr.isatty()
    alone = terminal and not (beside_output and sys.stdout.isatty())
    return {
        "bar": alone if progress is None else progress,
        "lines": not terminal and progress is not False,
    }


@contextmanager
def watch_documents(*, bar: bool, lines: bool, size: int | None) -> Iterator[WatchBytes]:
    """Give a function that shows how far a run is: as a bar, as lines, as both or not at all.

    `size` is that of the input in bytes, None where it is not known; then no time left is shown.
    """
    with _document_bar(size) if bar else nullcontext(_unwatched) as on_bar:
        on_lines = _document_lines(size) if lines else _unwatched

        def watch(progress: Progress, end: int) -> None:
            on_bar(progress, end)
            on_lines(progress, end)

        yield watch


@contextmanager
def _document_bar(size: int | None) -> Iterator[WatchBytes]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.fields[done]}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeElapsedColumn(),
        rich.TextColumn("{task.fields[left]}"),
    )
    start = monotonic()
    total = None if size is None else 1.0
    with rich.Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("", total=total, done=_done(Progress()), rate="", left="")

        def watch(progress: Progress, end: int) -> None:
            seconds = monotonic() - start
            shown.update(
                task,
                completed=progress.share(end / size) if size else 0.0,
                done=_done(progress),
                rate=", ".join([*progress.others(), progress.rate(seconds)]),
                left=_left(progress, end, size, seconds),
            )

        yield watch


def _document_lines(size: int | None) -> WatchBytes:
    """Return a function that prints a line when the last one, or the start, is long enough ago."""
    start = last = monotonic()

    def watch(progress: Progress, end: int) -> None:
        nonlocal last
        now = monotonic()
        if now - last < _SECONDS_BETWEEN_LINES:
            return
        last = now
        left = _left(progress, end, size, now - start)
        parts = [_done(progress), *progress.others(), progress.rate(now - start), left]
        print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)

    return watch


def _unwatched(_progress: Progress, _end: int) -> None:
    pass


def _done(progress: Progress) -> str:
    documents = counted(progress.documents - progress.failed, "document")
    return f"{documents}, {counted(progress.chunks, 'chunk')}"


def _left(progress: Progress, end: int, size: int | None, seconds: float) -> str:
    left = progress.seconds_left(end / size, seconds) if size else None
    return "" if left is None else f"{clock_time(left)} left"


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
