"""`ctxembed bench`: the options, and one process for each type of arithmetic."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from ctxembed import machine
from ctxembed.cli import processor_speed as speed
from ctxembed.cli.local_backend import LocalBackend, with_backend
from ctxembed.cli.options import with_settings
from ctxembed.cli.plurals import counted
from ctxembed.errors import ConfigurationError
from ctxembed.settings import BackendName, Dtype, Settings

if TYPE_CHECKING:
    from ctxembed.cli.bench.result import Measured

_REFERENCE = "float32"
_SHOWN_ELSEWHERE = ("model", "backend", "dtype")
"""Settings that have a place of their own in the report."""

_TYPES = tuple(each for each in get_args(Dtype) if each != "auto")


@with_settings(
    *("model", "revision", "device", "pooling", "batch_tokens"),
    *("window_tokens", "overlap_tokens", "context_weight", "neighbour_weight", "document_prefix"),
)
def bench(
    settings: Settings,
    context: typer.Context,
    *,
    backend: LocalBackend = "auto",
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Documents of yours, lines of JSON as for `ctxembed embed`; without it 23 fairy "
            "tales that come with the package.",
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel="Model",
            metavar="<choice>",
            help="Arithmetic to measure; may be given several times. Without it float32 and "
            "bfloat16 through torch, and through ONNX the graph's own. "
            f"Choices: {', '.join(_TYPES)}.",
        ),
    ] = None,
    agreement: Annotated[
        bool, typer.Option(help="Measure float32 too, to compare the others with it.")
    ] = True,
    seconds: Annotated[
        float,
        typer.Option(
            min=1.0,
            help="Time for each dtype. As many documents as fit into it are embedded, "
            "at least one.",
        ),
    ] = 20.0,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The most tokens per chunk, where a document is text; without it 256, or a "
            "quarter of a shorter window, as for `ctxembed embed`.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on standard output, and no table.")
    ] = False,
) -> None:
    """Measure this machine with a model and documents: speed, memory, agreement with float32.

    Each dtype has a process of its own. The time to the first vector counts from the start of that
    process, and peak memory is the most that it held. The share of peak compares the useful matrix
    products, without padding, with bare products of the model's own shapes. Progress goes to
    standard error.

    Exit codes: 0 everything was measured, 2 the command stopped at an error.
    """
    from rich.console import Console

    from ctxembed.cli.bench.documents import check_first, count_documents, name_of
    from ctxembed.cli.bench.process import Task, measure_all
    from ctxembed.cli.bench.result import Result
    from ctxembed.cli.bench.terminal import show

    settings = with_backend(
        settings, backend, refusal="bench measures this machine, and an API computes elsewhere."
    )
    name = settings.resolve_backend()
    dtypes = _dtypes(name, dtype or (), agreement=agreement)
    available = count_documents(data)
    check_first(data)
    task = Task(
        settings=settings,
        data=data,
        chunk_tokens=chunk_tokens,
        seconds=seconds,
        debug=bool(context.find_root().params.get("debug")),
    )
    load = machine.load()
    rows = measure_all([replace(task, settings=replace(settings, dtype=each)) for each in dtypes])
    result = Result(
        model=settings.model,
        backend=name,
        data=name_of(data),
        available=available,
        settings={name: value for name, value in settings.to_dict().items() if name != "dtype"},
        seconds=seconds,
        rows=rows,
        load=load,
        cores=os.cpu_count() or 1,
        facts=_facts(name, rows, _given(settings, rows[0].chunk_tokens, seconds)),
    )
    if as_json:
        sys.stdout.write(json.dumps(result.to_dict(), indent=2) + "\n")
    else:
        show(result, Console(highlight=False))


def _dtypes(backend: BackendName, asked: Sequence[str], *, agreement: bool) -> list[Dtype]:
    """Return what to measure, each once, float32 first."""
    if backend == "onnx":
        # a graph has one type; "auto" and "float32" both mean it, others are refused on opening
        names = dict.fromkeys(
            "auto" if each == _REFERENCE else each for each in asked or ("auto",)
        )
        return cast(list[Dtype], sorted(names, key="auto".__eq__))
    if "auto" in asked:
        raise ConfigurationError("--dtype auto names no type. Hint: leave it out.")
    wanted = dict.fromkeys(asked or (_REFERENCE, "bfloat16"))
    if agreement or _REFERENCE in wanted:
        wanted = {_REFERENCE: None} | wanted
    return cast(list[Dtype], list(wanted))


def _given(settings: Settings, chunk_tokens: int, seconds: float) -> str:
    """Return in words the settings that differ from the defaults, the chunks and the time."""
    given = [
        f"{each.name} {value!r}"
        for each in fields(Settings)
        if each.name not in _SHOWN_ELSEWHERE
        and (value := getattr(settings, each.name)) != each.default
    ]
    return ", ".join(
        [*given, f"chunks of up to {counted(chunk_tokens, 'token')}", f"{seconds:g} s each"]
    )


def _facts(backend: BackendName, rows: "Sequence[Measured]", given: str) -> dict[str, str]:
    first = rows[0]
    gpu = {"GPU": "; ".join(speed.gpus())} if first.device.startswith("cuda") else {}
    return {
        "runs on": f"{backend}, {first.device}, {counted(first.threads, 'thread')}",
        "settings": given,
        **machine.describe(),
        **gpu,
        "versions": machine.versions(("ctxembed", "numpy", *machine.LIBRARIES[backend])),
        "date": datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
    }
