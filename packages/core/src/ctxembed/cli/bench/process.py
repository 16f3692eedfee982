"""One type of arithmetic measured in a process of its own, timed from the start of the process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

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
"""Is called with each event of the process: its name under "event", and its seconds under "at"."""

_REFERENCE = "float32"
# -P: a file of the user's that is called torch.py is nothing to import
_COMMAND = (sys.executable, "-P", "-m", "ctxembed.cli.bench.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a process is to measure: documents for `seconds`, in `settings`; `data` as for `embed`.

    Without `chunk_tokens` texts are cut as `embed` cuts them.
    """

    settings: Settings
    data: Path | None
    chunk_tokens: int | None
    seconds: float
    debug: bool = False

    @property
    def name(self) -> str:
        """The type of arithmetic, or "onnx": a graph has its own, whatever `dtype` says."""
        return "onnx" if self.settings.resolve_backend() == "onnx" else self.settings.dtype

    def to_json(self, codes: Path, limit: int | None) -> str:
        """Return what the worker reads: also where its codes go, and the most documents to take."""
        plain = {name: getattr(self, name) for name in ("chunk_tokens", "seconds", "debug")}
        plain |= {"settings": self.settings.to_dict(), "codes": str(codes), "limit": limit}
        return json.dumps(plain | {"data": None if self.data is None else str(self.data)})


def measure_all(tasks: Sequence[Task]) -> tuple[Measured, ...]:
    """Return what each task found, one after the other, on no more documents than the first.

    Each is compared with float32, where that is one of them.
    """
    console = Console(stderr=True, highlight=False)
    spent = len(tasks) * tasks[0].seconds
    console.print(f"about {spent:.0f} s, and loading; one document at the least goes in whole")
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
    """Return what a process of its own measured; its codes are in a file then.

    Raises:
        BackendError: the process died.
        typer.Exit: it stopped at an error that it has shown.
    """
    events: dict[str, Event] = {}
    start = perf_counter()
    with subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
        _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            _send(process, task.to_json(codes, limit))
            for line in process.stdout or ():
                event = json.loads(line) | {"at": perf_counter() - start}
                events[event["event"]] = event
                watch(event)
        except BaseException:
            process.kill()
            raise
    _check_code(process.returncode, task.name)
    return _measured(events, task.name)


def _send(process: subprocess.Popen[str], text: str) -> None:
    with suppress(BrokenPipeError):  # it died: its code tells
        if process.stdin:
            process.stdin.write(text)
            process.stdin.close()


def _check_code(code: int, name: str) -> None:
    if code > 0:
        raise typer.Exit(code)
    if code < 0:
        message = f"the process that measured {name} was ended by signal {-code}."
        raise BackendError(f"{message} Hint: memory may have run out; leave this dtype out.")


def _measured(events: dict[str, Event], name: str) -> Measured:
    chosen, timed, done = (events[each] for each in ("chosen", "timed", "done"))
    at = [events[each]["at"] for each in ("imported", "loaded", "first")]
    waited = timed["waited"]
    if waited is not None:
        waited /= timed["seconds"] * done["threads"]
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
        started=at[0],
        loaded=at[1] - at[0],
        first=at[2] - at[1],
        waited=waited,
        memory=timed["memory"],
        device_memory=done.get("device_memory"),
        operations=done.get("operations"),
        peak=done.get("peak"),
    )
