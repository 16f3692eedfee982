"""The tensors of a safetensors checkpoint by name, checked, and read one at a time.

A tensor that needs no conversion is a view of the mapped file; one that does is converted alone,
so a model of 16 GB becomes one of 8 GB without ever being there in both. No code of a checkpoint
runs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ctxembed.backends.torch.lora import Change, read_adapter
from ctxembed.checkpoint import ADAPTER_WEIGHTS, weight_files
from ctxembed.errors import ModelLoadError

_SIZES = ("size", "num", "layer", "position", "dim", "n_", "max_", "_length", "head", "d_")
"""What is in the name of a key that decides how much memory a model takes."""

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_FETCH = "Hint: fetch the checkpoint again."
_NAMED = 4
_FEW_LAYERS = 1024
_LARGEST = 2**24


@dataclass(frozen=True, slots=True)
class Weights:
    """Which file holds which tensor, names without their `model.` prefix; see `find_weights`.

    `changes` are an adapter's, by the names of layers; `take` adds them.
    """

    directory: Path
    files: Mapping[str, tuple[Path, str]]
    changes: Mapping[str, Change] = field(default_factory=dict)

    def check(self, shapes: Mapping[str, tuple[int, ...]], ignored: tuple[str, ...] = ()) -> None:
        """Refuse a checkpoint that hasn't exactly these tensors; `ignored` are endings of names.

        Raises:
            ModelLoadError: names what is missing, of another shape, or too much.
        """
        found = {name for name in self.files if not name.endswith(ignored)}
        _refuse(self.directory, "lacks", sorted(set(shapes) - found))
        extra = sorted(found - set(shapes))
        _refuse(self.directory, "has tensors that the model has no place for:", extra)
        actual = {name: self._shape(name) for name in shapes}
        wrong = [f"{k} {actual[k]}, not {shapes[k]}" for k in shapes if actual[k] != shapes[k]]
        _refuse(self.directory, "has tensors of another shape:", wrong)
        lost = [name for name in self.changes if f"{name}.weight" not in shapes]
        _refuse(self.directory, "has an adapter for layers that the model has not:", lost)

    def check_sizes(self, config: Mapping[str, Any]) -> None:
        """Refuse a configuration that asks for far more than the files hold, before it is obeyed.

        Raises:
            ModelLoadError: names the key.
        """
        most_layers = max(_FEW_LAYERS, len(self.files))
        nested = [value for value in config.values() if isinstance(value, dict)]
        for key, value in [pair for each in (config, *nested) for pair in each.items()]:
            most = most_layers if "layer" in key or key == "num_labels" else _LARGEST
            sized = any(word in key for word in _SIZES)
            if sized and isinstance(value, int | float) and abs(value) > most:
                raise ModelLoadError(
                    f"{self.directory}: config.json says {value} under {key}, and its weights are "
                    f"{len(self.files)} tensors. {_FETCH}"
                )

    def take(self, name: str, dtype: torch.dtype | None, device: torch.device) -> Tensor:
        """Return one tensor on a device, in the type wanted; None leaves the type as it is."""
        path, _ = self.files[name]
        tensor = self._read(name)
        if not tensor.is_floating_point() or tensor.element_size() == 1:
            raise ModelLoadError(
                f"{path} holds {name} as {tensor.dtype}. Hint: take the float checkpoint."
            )
        change = self.changes.get(name.removesuffix(".weight"))
        merged = tensor if change is None else change.added_to(tensor)
        return merged.to(device, dtype or tensor.dtype)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by the names in their files, an adapter's changes left out."""
        return {stored: self._read(name) for name, (_, stored) in self.files.items()}

    def _read(self, name: str) -> Tensor:
        path, stored = self.files[name]
        try:
            # opened anew each time: its pages leave memory with the last view of them
            with safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(stored)
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(f"{path} can't be read ({error}). {_FETCH}") from error
        return tensor

    def _shape(self, name: str) -> tuple[int, ...]:
        path, stored = self.files[name]
        with safe_open(path, framework="pt") as file:
            return tuple(file.get_slice(stored).get_shape())


def find_weights(directory: Path) -> Weights:
    """Return the tensors of a directory: those of the files that its index names, or of all.

    Raises:
        ModelLoadError: no weights, a file that is missing or cut short, or a tensor in two files.
    """
    files: dict[str, tuple[Path, str]] = {}
    for path in _paths(directory):
        try:
            with safe_open(path, framework="pt") as file:
                stored = list(file.keys())
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(f"{path} is damaged or incomplete ({error}). {_FETCH}") from error
        for name in stored:
            plain = name.removeprefix("model.")
            if plain in files:
                both = f"{files[plain][0].name} and {path.name}"
                raise ModelLoadError(f"{directory} holds {plain} twice, in {both}. {_FETCH}")
            files[plain] = (path, name)
    return Weights(directory, files, read_adapter(directory))


def _paths(directory: Path) -> list[Path]:
    index = directory / _INDEX
    if index.is_file():
        try:
            named = {*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
            others = sorted(name for name in named if not _plain(name))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelLoadError(f"{index} is not an index of weights. {_FETCH}") from error
        if others:
            raise ModelLoadError(
                f"{index} names {others[0]!r}. Only .safetensors files in the same directory, by "
                f"their bare names, are read. {_FETCH}"
            )
        if named != {_SINGLE} and (directory / _SINGLE).is_file():
            raise ModelLoadError(
                f"{directory} has {_SINGLE}, and {_INDEX} names others. Hint: delete those that "
                "are not meant."
            )
        _refuse(directory, "lacks", sorted(n for n in named if not (directory / n).is_file()))
        return [directory / name for name in sorted(named)]
    if (directory / _SINGLE).is_file():
        return [directory / _SINGLE]
    paths = [
        path for path in weight_files(directory, "safetensors") if path.name != ADAPTER_WEIGHTS
    ]
    if not paths:
        raise ModelLoadError(
            f"{directory} has no .safetensors weights. Hint: load the model with transformers "
            "and save it with `model.save_pretrained(...)`, which writes them."
        )
    return paths


def _plain(name: str) -> bool:
    """Tell whether a name stays in its directory, where the digests of weights see it."""
    return name.endswith(".safetensors") and not {"/", "\\", ":"} & {*name}


def _refuse(directory: Path, verb: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise ModelLoadError(f"{directory} {verb} {', '.join(names[:_NAMED])}{more}. {_FETCH}")
