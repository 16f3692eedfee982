"""What lies in a model directory: its weight files, and a digest that changes when they do.

Nothing is loaded: headers and samples are read, a few hundred kilobytes a file at the most.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from pathlib import Path
from typing import Literal

_SMALL = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "config_sentence_transformers.json",
    "modules.json",
    "1_Pooling/config.json",
)
_SAMPLES = 64
_SAMPLE_BYTES = 4096


def weight_files(directory: Path, kind: Literal["safetensors", "onnx"]) -> list[Path]:
    """Return the weight files of a directory, sorted; ONNX ones also from its `onnx` folder."""
    if kind == "safetensors":
        return sorted(directory.glob("*.safetensors"))
    return sorted([*directory.glob("*.onnx"), *directory.glob("onnx/*.onnx")])


def checkpoint_digest(directory: Path) -> str:
    """Return a hash of configuration, tokenizer, and every weight file's name, size, header, samples.

    Samples are 64 runs of 4 KiB spread over the file: fine-tuned weights have the same names, sizes and
    headers as the ones they came from.
    """
    digest = blake2b(digest_size=16)
    for name in _SMALL:
        path = directory / name
        if path.is_file():
            digest.update(name.encode() + path.read_bytes())
    external = [
        path
        for pattern in ("*.onnx_data*", "*.onnx.data*")
        for path in (*directory.glob(pattern), *directory.glob(f"onnx/{pattern}"))
    ]
    weights = [*weight_files(directory, "safetensors"), *weight_files(directory, "onnx")]
    for path in sorted([*weights, *external]):
        _add_weights(digest, directory, path)
    return digest.hexdigest()


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
