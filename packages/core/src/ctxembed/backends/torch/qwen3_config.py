"""`Qwen3Config`: the sizes of a Qwen3 checkpoint, from `config.json`; the rest is refused."""

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
_ROPE_THETA = 10_000.0
_RMS_NORM_EPS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3Config:
    """The sizes of a model, by the names that its `config.json` and the field have for them."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    rope_theta: float
    rms_norm_eps: float

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of a checkpoint, by name."""
        shapes: dict[str, tuple[int, ...]] = {
            "embed_tokens.weight": (self.vocab_size, self.hidden_size),
            "norm.weight": (self.hidden_size,),
        }
        layer = {
            "input_layernorm": (self.hidden_size,),
            "self_attn.q_proj": (self.num_heads * self.head_dim, self.hidden_size),
            "self_attn.k_proj": (self.num_kv_heads * self.head_dim, self.hidden_size),
            "self_attn.v_proj": (self.num_kv_heads * self.head_dim, self.hidden_size),
            "self_attn.o_proj": (self.hidden_size, self.num_heads * self.head_dim),
            "self_attn.q_norm": (self.head_dim,),
            "self_attn.k_norm": (self.head_dim,),
            "post_attention_layernorm": (self.hidden_size,),
            "mlp.gate_proj": (self.intermediate_size, self.hidden_size),
            "mlp.up_proj": (self.intermediate_size, self.hidden_size),
            "mlp.down_proj": (self.hidden_size, self.intermediate_size),
        }
        for number in range(self.num_layers):
            for name, shape in layer.items():
                shapes[f"layers.{number}.{name}.weight"] = shape
        return shapes


def read_qwen3_config(config: Mapping[str, Any]) -> Qwen3Config:
    """Return the sizes that a `config.json` gives.

    Raises:
        ModelLoadError: a size is missing, or something is asked for that this forward does not do.
    """
    for name in _SIZES:
        if not isinstance(config.get(name), int):
            raise ModelLoadError(f"config.json gives no {name}. Hint: fetch the checkpoint again.")
    try:
        return _qwen3_config(config)
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelLoadError(
            "config.json has a value of the wrong kind among heads, norms or rotary positions. "
            "Hint: fetch the checkpoint again."
        ) from error


def _qwen3_config(config: Mapping[str, Any]) -> Qwen3Config:
    _check_plain(config)
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    if heads % kv_heads:
        raise ModelLoadError(
            f"config.json: num_attention_heads, {heads}, can't share num_key_value_heads, "
            f"{kv_heads}."
        )
    return Qwen3Config(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        intermediate_size=config["intermediate_size"],
        rope_theta=_rope_theta(config),
        rms_norm_eps=float(config.get("rms_norm_eps", _RMS_NORM_EPS)),
    )


def _check_plain(config: Mapping[str, Any]) -> None:
    unusual = {
        "attention_bias": config.get("attention_bias", False),
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "sliding_window": config.get("use_sliding_window", False),
        "partial_rotary_factor": config.get("partial_rotary_factor", 1.0) != 1.0,
        "is_causal": config.get("is_causal", False),
        "use_bidirectional_attention": not config.get("use_bidirectional_attention", True),
        "layer_types": set(config.get("layer_types") or ()) - {"full_attention"},
    }
    for name, differs in unusual.items():
        if differs:
            raise ModelLoadError(f"this backend can't do what config.json says under {name}.")


def _rope_theta(config: Mapping[str, Any]) -> float:
    """Return the base of the rotary angles: at top level, in `rope_parameters`, or both."""
    told = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    kind = told.get("rope_type", told.get("type", "default"))
    if kind != "default":
        raise ModelLoadError(
            f"config.json asks for rotary positions of type {kind!r}; only 'default' is known."
        )
    return float(told.get("rope_theta") or config.get("rope_theta") or _ROPE_THETA)
