"""`ctxembed doctor`: versions, machine, speed, and what is missing."""

import platform

from ctxembed import __version__, machine
from ctxembed.backends import threads
from ctxembed.cli import processor_speed as speed
from ctxembed.cli.extras import EXTRAS

_WHAT_FOR = {
    "torch": "pplx-embed and other checkpoints with safetensors, on CPU and GPU",
    "onnx": "ONNX models without torch",
    "api": "--backend api",
    "progress": "`progress=True`, a bar in Python",
    "cli": "this command line",
    "server": "`ctxembed serve`",
    "demo": "`ctxembed demo` and --model minilm",
}


def doctor() -> None:
    """Report what is installed, how fast this machine is, and what is missing."""
    installed = {name: machine.installed(name) for names in EXTRAS.values() for name in names}
    optional = {name: found or "-" for name, found in installed.items()}
    always = {"numpy": machine.installed("numpy") or "missing"}
    _section(
        "Versions",
        {"python": platform.python_version(), "ctxembed": __version__} | always | optional,
    )
    allowed = threads.allowed()
    _section("Machine", machine.describe() | {"threads": f"{allowed.number} ({allowed.reason})"})
    advice = [*_ignored(), *_too_many(allowed), *_missing(installed)]
    if installed["torch"]:
        advice = [*_torch(allowed.number), *advice]
    else:
        _section("Speed", {"not measured": "that needs torch"})
    print("\nAdvice")
    for line in advice or ["nothing is missing"]:
        print(f"  {line}")


def _torch(allowed: int) -> list[str]:
    """Print what torch reaches here, and return the advice that follows from it."""
    devices, speeds = speed.gpus(), speed.measure_cpu()
    onednn = "this torch has no oneDNN"
    if speeds.onednn is not None:
        onednn = f"through oneDNN {speeds.onednn:.0f} GFLOP/s; a model takes the faster"
    lower = " (torch's own limit)" if speeds.threads < allowed else ""
    _section(
        "Speed",
        {
            "threads": f"{speeds.threads}{lower}",
            "float32": f"{speeds.linear:.0f} GFLOP/s, {onednn}",
            "bfloat16": f"{speeds.bfloat16:.0f} GFLOP/s",
            "GPU": "; ".join(devices) or "torch sees none",
        },
    )
    return [f"{'on the CPU, ' if devices else ''}{speeds.advice}"]


def _ignored() -> list[str]:
    """Return advice where the variable holds no number of threads."""
    value = threads.unread()
    if value is None:
        return []
    return [f"{threads.VARIABLE}={value!r} is not a number of threads and is ignored"]


def _too_many(allowed: threads.Threads) -> list[str]:
    """Return advice where the variable asks for more threads than there is time for."""
    without = threads.allowed({})
    if allowed.number <= without.number:
        return []
    there = f"there is time for {without.number} ({without.reason})"
    return [f"{threads.VARIABLE} asks for {allowed.number} threads, and {there}: unset it"]


def _missing(installed: dict[str, str | None]) -> list[str]:
    return [
        f'for {_WHAT_FOR[extra]}: python -m pip install "ctxembed[{extra}]"'
        f" (missing: {', '.join(missing)})"
        for extra, names in EXTRAS.items()
        if (missing := [name for name in names if installed[name] is None])
    ]


def _section(title: str, values: dict[str, str]) -> None:
    print(f"{'' if title == 'Versions' else chr(10)}{title}")
    for name, value in values.items():
        print(f"  {name:<24}{value}")
