"""The scripts of examples/ run as a user runs them, and print what they are there to show."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "core.py": "She wrote the first compiler.\n",
    "onnx_minilm.py": "contextual: two vectors\nindependent: the same vector for both\n",
    "torch_checkpoint.py": "3 rows of 64 dimensions, int8\n",
    "api_client.py": "[(2, 1024), (1, 1024)] 1 request\n",
    "with_langchain.py": "hopper.txt\n",
    "with_llamaindex.py": "hopper.txt\n",
    "with_haystack.py": "hopper\n",
}


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_and_named():
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert scripts == set(PRINTED)
    assert all(f"`{name}" in listed for name in scripts)


@pytest.mark.parametrize(
    "script", ["core.py", "onnx_minilm.py", *sorted(n for n in PRINTED if n.startswith("with_"))]
)
def test_an_example_with_the_embedded_model(script):
    assert PRINTED[script] == run(script)


def test_the_example_with_a_checkpoint(pplx_checkpoint):
    assert PRINTED["torch_checkpoint.py"] == run("torch_checkpoint.py", pplx_checkpoint)


@pytest.mark.usefixtures("api")
def test_the_example_over_the_api():
    assert PRINTED["api_client.py"] == run("api_client.py")
