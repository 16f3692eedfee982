"""A LoRA adapter beside a model's weights: what it adds to each linear layer when they are loaded.

Plain LoRA only, by its definition (Hu et al. 2021): a weight W becomes W + s B A, where s is
alpha / r, or alpha / sqrt(r) with rsLoRA. Whatever else adapters can be is refused by name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ctxembed.backends.config import read_json
from ctxembed.checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from ctxembed.errors import ModelLoadError

_NAME = re.compile(r"(?:base_model\.model\.)?(?:model\.)?(.+)\.lora_([AB])\.weight")
_MERGE = "Hint: merge it with peft (`merge_and_unload`) and save the model whole."

# What an adapter_config.json may say without changing more than the definition above does.
_FOLLOWED = frozenset(("peft_type", "r", "lora_alpha", "use_rslora", "fan_in_fan_out"))
_HARMLESS = frozenset(
    (
        *("auto_mapping", "base_model_name_or_path", "revision", "task_type", "peft_version"),
        *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
        *("inference_mode", "lora_dropout", "megatron_core", "qalora_group_size"),
    )
)
_USUAL: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """What is added to one weight: `scale` times `b` (outputs, rank) times `a` (rank, inputs)."""

    a: Tensor
    b: Tensor
    scale: float
    transposed: bool

    def added_to(self, weight: Tensor) -> Tensor:
        """Return the changed weight, float32."""
        product = self.scale * (self.b @ self.a)
        product = product.T if self.transposed else product
        if product.shape != weight.shape:
            raise ModelLoadError(
                f"{ADAPTER_WEIGHTS} has a change of shape {tuple(product.shape)} for a weight of "
                f"shape {tuple(weight.shape)}. Hint: it may belong to another model."
            )
        return weight.float() + product.to(weight.device)


def read_adapter(directory: Path) -> dict[str, Change]:
    """Return the changes by the names of layers, without `model.`; none where no adapter is.

    Raises:
        ModelLoadError: an adapter that is not plain LoRA, or whose files are not what they should
            be.
    """
    config = read_json(directory / ADAPTER_CONFIG)
    if config is None:
        return {}
    rank, scale = _checked(directory, config)
    path = directory / ADAPTER_WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelLoadError(
            f"{directory} has {ADAPTER_CONFIG} and no {ADAPTER_WEIGHTS} that can be read. Hint: "
            f"save the adapter with safetensors, or delete {ADAPTER_CONFIG} if it isn't meant."
        ) from error
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        found = _NAME.fullmatch(name)
        if found is None:
            raise ModelLoadError(f"{path} has {name}, which plain LoRA has not. {_MERGE}")
        pairs.setdefault(found[1], {})[found[2]] = tensor.float()
    transposed = bool(config.get("fan_in_fan_out"))
    changes = {}
    for layer, pair in pairs.items():
        if {*pair} != {"A", "B"} or pair["A"].shape[0] != rank or pair["B"].shape[1:] != (rank,):
            raise ModelLoadError(
                f"{path} should have lora_A and lora_B of rank {rank} for {layer}. Hint: fetch the "
                "adapter again."
            )
        changes[layer] = Change(pair["A"], pair["B"], scale, transposed)
    return changes


def merge(model: nn.Module, changes: Mapping[str, Change]) -> None:
    """Add the changes to the layers of a stock model, whose names may lack the first part.

    Raises:
        ModelLoadError: a change has no linear layer.
    """
    layers = dict(model.named_modules())
    for name, change in changes.items():
        layer = layers.get(name) or layers.get(name.partition(".")[2])
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Tensor) or isinstance(layer, nn.Embedding):
            raise ModelLoadError(
                f"{ADAPTER_WEIGHTS} changes {name}, and the model has no linear layer of that "
                "name. Hint: it may belong to another model."
            )
        weight.data = change.added_to(weight)


def _checked(directory: Path, config: Any) -> tuple[int, float]:  # noqa: ANN401 - from JSON
    """Return the rank and the scale of an adapter's changes."""
    if not isinstance(config, dict):
        raise ModelLoadError(f"{directory / ADAPTER_CONFIG} is no object. {_MERGE}")
    if config.get("peft_type") != "LORA":
        raise ModelLoadError(
            f"{directory}: {ADAPTER_CONFIG} says {config.get('peft_type')} under peft_type, and "
            f"only LORA is merged here. {_MERGE}"
        )
    for key, value in config.items():
        usual = key in _FOLLOWED | _HARMLESS or value in _USUAL.get(key, ())
        if value and not usual:
            raise ModelLoadError(
                f"{directory}: {ADAPTER_CONFIG} says {value!r} under {key}, which is not merged "
                f"here. {_MERGE}"
            )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise ModelLoadError(
            f"{directory}: {ADAPTER_CONFIG} should give numbers as r and lora_alpha. {_MERGE}"
        )
    return rank, alpha / (rank**0.5 if config.get("use_rslora") else rank)
