"""Processes that measure, one for each type of arithmetic, timed from their start."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TextIO, cast

import numpy as np
import typer
from rich.console import Console

from ctxembed.cli.bench.agreement import agreement
from ctxembed.cli.bench.result import Measured
from ctxembed.cli.bench.terminal import say
from ctxembed.encoding import Array
from ctxembed.errors import BackendError
from ctxembed.settings import Settings

Event = dict[str, Any]
Watch = Callable[[Event], None]
"""Is called with each event of a process: its values, and "at", the seconds since the start."""

_REFERENCE = "float32"
# -P: a file of the user that is called torch.py is not imported
_COMMAND = (sys.executable, "-P", "-m", "ctxembed.cli.bench.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process measures: documents for `seconds`, with `settings`.

    `data` is a file as for `ctxembed embed`; without `chunk_tokens` texts are cut as it cuts them.
    """

    settings: Settings
    data: Path | None
    chunk_tokens: int | None
    seconds: float
    debug: bool = False

    @property
    def name(self) -> str:
        """The type of arithmetic, or "onnx": a graph has its own, which `dtype` does not change."""
        return "onnx" if self.settings.resolve_backend() == "onnx" else self.settings.dtype

    def to_json(self, codes: Path, limit: int | None) -> str:
        """Return what the worker reads, with its file for `codes` and the most documents."""
        return json.dumps(asdict(self) | {"codes": codes, "limit": limit}, default=str)


def measure_all(tasks: Sequence[Task]) -> tuple[Measured, ...]:
    """Return what each task found, one after the other, with no more documents than the first.

    Each is compared with float32, where that is among them.
    """
    console = Console(stderr=True, highlight=False)
    console.print(
        f"about {len(tasks) * tasks[0].seconds:.0f} s, and loading; at least one document is "
        "embedded whole"
    )
    limit: int | None = None
    rows: list[Measured] = []
    codes: dict[str, Array] = {}
    with TemporaryDirectory(prefix="ctxembed-bench-") as folder:
        for task in tasks:
            path = Path(folder, f"{task.name}.npy")
            rows.append(run(task, path, limit, partial(say, name=task.name, console=console)))
            codes[task.name] = np.load(path)
            limit = limit or rows[0].documents
    return tuple(_compared(row, codes) for row in rows)


def _compared(row: Measured, codes: Mapping[str, Array]) -> Measured:
    if _REFERENCE not in codes:
        return row
    mine = codes[row.name]
    return replace(row, agreement=agreement(codes[_REFERENCE][: len(mine)], mine))


def run(task: Task, codes: Path, limit: int | None, watch: Watch) -> Measured:
    """Return what a process of its own measured; it leaves its codes in a file.

    Raises:
        BackendError: the process died.
        typer.Exit: it stopped at an error that it has shown.
    """
    events: dict[str, Event] = {}

    def keep(event: Event) -> None:
        events[event["event"]] = event
        watch(event)

    code = listen(_COMMAND, task.to_json(codes, limit), keep)
    if code > 0:
        raise typer.Exit(code)
    if code < 0:
        raise BackendError(
            f"the process that measured {task.name} was ended by signal {-code}. Hint: memory may "
            "have run out; leave this dtype out."
        )
    return _measured(events, task.name)


def listen(command: Sequence[str], text: str, watch: Watch, *, folder: Path | None = None) -> int:
    """Start a process, give it a text, watch its lines of JSON, and return its exit code.

    The process runs in `folder`. It ends with this call, also when an error ends the call.
    """
    start = perf_counter()
    with subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
        command, cwd=folder, stdin=PIPE, stdout=PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            # of a process that has ended, the exit code tells why
            with suppress(BrokenPipeError), cast(TextIO, process.stdin) as stdin:
                stdin.write(text)
            for line in cast(TextIO, process.stdout):
                watch(json.loads(line) | {"at": perf_counter() - start})
        except BaseException:
            process.kill()
            raise
    return process.returncode


def _measured(events: dict[str, Event], name: str) -> Measured:
    chosen, timed, done = (events[each] for each in ("chosen", "timed", "done"))
    started, loaded, first = (events[each]["at"] for each in ("imported", "loaded", "first"))
    waited = timed["waited"]
    return Measured(
        name=name,
        device=done["device"],
        threads=done["threads"],
        documents=chosen["documents"],
        chunks=chosen["chunks"],
        chunk_tokens=chosen["chunk_tokens"],
        tokens=timed["tokens"],
        runs=timed["runs"],
        seconds=timed["seconds"],
        started=started,
        loaded=loaded - started,
        first=first - loaded,
        waited=None if waited is None else waited / (timed["seconds"] * done["threads"]),
        memory=timed["memory"],
        device_memory=done.get("device_memory"),
        operations=done.get("operations"),
        peak=done.get("peak"),
    )
