"""The files of a model directory: which of them are weights, and a digest that changes with them.

Nothing is loaded. Headers and samples are read, at most a few hundred kilobytes per file.
"""

import json
import struct
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Literal

PPLX_TYPE = "bidirectional_pplx_qwen3"
"""`model_type` of the pplx-embed v1 models: Qwen3 that looks both ways."""

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""An adapter beside the weights, as peft names its files."""

_SMALL = (
    ADAPTER_CONFIG,
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "config_sentence_transformers.json",
    "model.safetensors.index.json",
    "modules.json",
    "1_Pooling/config.json",
)
_TRANSFORMER_FILES = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
NO_WEIGHTS = frozenset((".json", ".md", ".py", ".safetensors", ".txt"))
"""Endings of files that hold no data of a graph, beside one."""

_SAMPLES = 64
_SAMPLE_BYTES = 4096


def weight_files(directory: Path, kind: Literal["safetensors", "onnx"]) -> list[Path]:
    """Return the weight files of a directory, sorted; ONNX ones also from its `onnx` folder."""
    if kind == "safetensors":
        return sorted(directory.glob("*.safetensors"))
    return sorted([*directory.glob("*.onnx"), *directory.glob("onnx/*.onnx")])


def model_type(directory: Path) -> str | None:
    """Return what `config.json` calls the kind of model, None where it cannot be read."""
    try:
        config = json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    found = config.get("model_type") if isinstance(config, dict) else None
    return found if isinstance(found, str) else None


def transformer_file(directory: Path) -> tuple[str, dict[str, Any]]:
    """Return name and content of the file that says how sentence-transformers reads texts.

    It reads the first that says anything, and none without `modules.json`.
    """
    if (directory / "modules.json").is_file():
        for name in _TRANSFORMER_FILES:
            try:
                values = json.loads((directory / name).read_bytes())
            except (OSError, ValueError):
                continue
            if values and isinstance(values, dict):
                return name, values
    return _TRANSFORMER_FILES[0], {}


def lowercases(directory: Path) -> bool:
    """Tell whether sentence-transformers puts texts into lower case before the tokenizer does."""
    return bool(transformer_file(directory)[1].get("do_lower_case"))


def checkpoint_digest(directory: Path) -> str:
    """Return a hash of configuration, tokenizer, and name, size, header and samples of weights.

    Samples are 64 runs of 4 KiB, spread over the file: fine-tuned weights have the same names,
    sizes and headers as the weights that they were made from.
    """
    digest = blake2b(digest_size=16)
    for name in _SMALL:
        path = directory / name
        if path.is_file():
            digest.update(name.encode() + path.read_bytes())
    if lowercases(directory):  # hashed only where it is followed: others were hashed without it
        digest.update(b"do_lower_case")
    onnx = weight_files(directory, "onnx")
    external = _external_data(directory) if onnx else []
    for path in sorted({*weight_files(directory, "safetensors"), *onnx, *external}):
        _add_weights(digest, directory, path)
    return digest.hexdigest()


def tensor_digest(directory: Path) -> str:
    """Return a hash of the beginning of every tensor in the safetensors of a directory.

    The samples of `checkpoint_digest` pass over most biases and norms of a large file, and some
    training changes nothing else.
    """
    digest = blake2b(digest_size=16)
    for path in weight_files(directory, "safetensors"):
        with path.open("rb") as file:
            for start, stop in _places_of_tensors(file, path.stat().st_size):
                file.seek(start)
                digest.update(file.read(min(stop - start, _SAMPLE_BYTES)))
    return digest.hexdigest()


def _places_of_tensors(file: BinaryIO, size: int) -> list[tuple[int, int]]:
    """Return where the tensors of a safetensors file begin and end; none where it is damaged."""
    try:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(min(length, size)))
        offsets = [each["data_offsets"] for name, each in header.items() if name != "__metadata__"]
        return sorted((8 + length + start, 8 + length + stop) for start, stop in offsets)
    except (struct.error, ValueError, LookupError, AttributeError, TypeError):
        return []  # who loads it says so


def _external_data(directory: Path) -> list[Path]:
    """Return files beside ONNX graphs that may hold their weights: their names are the graph's."""
    beside = (path for folder in (directory, directory / "onnx") for path in folder.glob("*"))
    return [path for path in beside if path.is_file() and path.suffix not in NO_WEIGHTS]


def _add_weights(digest: blake2b, directory: Path, path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"{path.relative_to(directory).as_posix()}:{size}".encode())
    with path.open("rb") as file:
        head = file.read(8)
        if path.suffix == ".safetensors" and len(head) == 8:  # noqa: PLR2004 - a u64 comes first
            digest.update(file.read(min(struct.unpack("<Q", head)[0], size)))
        for index in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * index // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
