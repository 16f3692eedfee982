"""The sizes of a Qwen3 checkpoint, from `config.json`; what the forward can't do is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ctxembed.errors import ModelLoadError

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)
_THETA = 10_000.0
_EPSILON = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Sizes of the model; a `head` is that many numbers, `inner` the width inside the MLP."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    inner: int
    theta: float
    epsilon: float

    @property
    def group(self) -> int:
        """Query heads that share one key and value head."""
        return self.heads // self.kv_heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of a checkpoint, by name."""
        shapes: dict[str, tuple[int, ...]] = {
            "embed_tokens.weight": (self.vocabulary, self.width),
            "norm.weight": (self.width,),
        }
        layer = {
            "input_layernorm": (self.width,),
            "self_attn.q_proj": (self.heads * self.head, self.width),
            "self_attn.k_proj": (self.kv_heads * self.head, self.width),
            "self_attn.v_proj": (self.kv_heads * self.head, self.width),
            "self_attn.o_proj": (self.width, self.heads * self.head),
            "self_attn.q_norm": (self.head,),
            "self_attn.k_norm": (self.head,),
            "post_attention_layernorm": (self.width,),
            "mlp.gate_proj": (self.inner, self.width),
            "mlp.up_proj": (self.inner, self.width),
            "mlp.down_proj": (self.width, self.inner),
        }
        for number in range(self.layers):
            for name, shape in layer.items():
                shapes[f"layers.{number}.{name}.weight"] = shape
        return shapes


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Return the sizes that a `config.json` gives.

    Raises:
        ModelLoadError: a size is missing, or something is asked for that this forward doesn't do.
    """
    for name in _SIZES:
        if not isinstance(config.get(name), int):
            raise ModelLoadError(f"config.json gives no {name}. Hint: fetch the checkpoint again.")
    try:
        return _architecture(config)
    except (TypeError, ValueError, AttributeError) as error:
        message = (
            "config.json has a value of the wrong kind among heads, norms or rotary positions."
        )
        raise ModelLoadError(f"{message} Hint: fetch the checkpoint again.") from error


def _architecture(config: Mapping[str, Any]) -> Architecture:
    _check_plain(config)
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    if heads % kv_heads:
        message = f"num_attention_heads, {heads}, can't share num_key_value_heads, {kv_heads}."
        raise ModelLoadError(f"config.json: {message}")
    return Architecture(
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=kv_heads,
        head=config.get("head_dim") or config["hidden_size"] // heads,
        inner=config["intermediate_size"],
        theta=_theta(config),
        epsilon=float(config.get("rms_norm_eps", _EPSILON)),
    )


def _check_plain(config: Mapping[str, Any]) -> None:
    unusual = {
        "attention_bias": config.get("attention_bias", False),
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "sliding_window": config.get("use_sliding_window", False),
        "partial_rotary_factor": config.get("partial_rotary_factor", 1.0) != 1.0,
        "layer_types": set(config.get("layer_types") or ()) - {"full_attention"},
    }
    for name, differs in unusual.items():
        if differs:
            raise ModelLoadError(f"this backend can't do what config.json says under {name}.")


def _theta(config: Mapping[str, Any]) -> float:
    """Return the base of the rotary angles: at top level, in `rope_parameters`, or both."""
    told = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    kind = told.get("rope_type", told.get("type", "default"))
    if kind != "default":
        message = (
            f"config.json asks for rotary positions of type {kind!r}; only 'default' is known."
        )
        raise ModelLoadError(message)
    return float(told.get("rope_theta") or config.get("rope_theta") or _THETA)
