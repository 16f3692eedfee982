"""The machine and the versions that a table was measured with."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ctxembed.cli import machine
from ctxembed.cli.bench.memory import peak_memory as most_memory

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def describe(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Return what a reader needs to compare the figures with their own."""
    found, load = machine.describe(), machine.load()
    return {
        "Date": datetime.now(UTC).date().isoformat(),
        "Processor": f"{found['processor']}, {found['cores']} cores",
        "Instructions": found.get("instructions", ""),
        "Memory": found.get("memory", ""),
        "Load before the run": "unknown" if load is None else f"{load:.1f}",
        "Versions": machine.versions(tuple(libraries)),
    }


def peak_memory() -> float:
    """Return the most bytes of memory that this process ever held, NaN where nobody tells."""
    return most_memory() or float("nan")
