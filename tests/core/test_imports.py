"""Cross-cutting: what `import ctxembed` loads, whatever else is installed."""

import subprocess
import sys

import pytest

OPTIONAL = [
    "haystack",
    "httpx",
    "langchain_core",
    "llama_index",
    "onnxruntime",
    "opentelemetry",
    "pyarrow",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "typer",
]


@pytest.mark.parametrize("module", ["ctxembed", "ctxembed.testing"])
def test_import_loads_no_optional_library(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()

    assert sorted(set(loaded) & set(OPTIONAL)) == []
