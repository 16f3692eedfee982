"""What this machine has: processor, cores and memory that this process may use.

Linux tells all of it; elsewhere what isn't known is left out.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

_FLAGS = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "i8mm", "bf16", "sve"),
)


def cpu_model(cpuinfo: str) -> str:
    """Return the processor's name."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def cpu_flags(cpuinfo: str) -> list[str]:
    """Return the instruction sets that matter for matrix products, of those that it has."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            has = set(value.split())
            return [flag for flag in _FLAGS if flag in has]
    return []


def cores() -> int:
    """Return the cores that this process may run on, whatever its share of their time."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def core_quota(cgroup: Path) -> float | None:
    """Return how many cores' time the control group allows, None where it sets no limit."""
    words = _read(cgroup / "cpu.max").split()
    if not words:
        period = _read(cgroup / "cpu" / "cpu.cfs_period_us").strip()
        words = [_read(cgroup / "cpu" / "cpu.cfs_quota_us").strip() or "max", period or "1"]
    quota, period = words
    return None if quota in ("max", "-1") else int(quota) / int(period)


def memory_gib(meminfo: str, cgroup: Path) -> tuple[float, float] | None:
    """Return total and available memory in GiB, the control group's limit taken into account."""
    values = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in meminfo.splitlines())
        if rest.strip()
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


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
