"""The forward of a Qwen3 that looks both ways, over windows packed one after another, unpadded.

The residual stream, norms and rotations are float32 whatever the type of the weights; matrix
products and attention are in the type of the weights. On a CPU tokens go through all but attention
a few hundred at a time, so that what a layer does to them finds them in the processor's cache.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ctxembed.backends.torch.attention import Attention, borders_of, choose_attention
from ctxembed.backends.torch.device import on_device
from ctxembed.backends.torch.linear import (
    LAYOUT_ROWS,
    Kind,
    Linear,
    choose,
    make_gate_up,
    make_linear,
)
from ctxembed.backends.torch.qwen3_config import Qwen3Config
from ctxembed.backends.torch.rotary import apply_rotary, pair_dimensions, rotary_cos_sin
from ctxembed.backends.torch.weights import Weights

_IGNORED = ("lm_head.weight", "rotary_emb.inv_freq")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its matrix products and the weights of its norms.

    `qkv_proj` makes queries, keys and values of rows, in this order; `qk_norm` has shape
    (heads + kv_heads, head_dim), for queries and keys. `gate_up_proj` is the gated first half of
    the feed-forward block.
    """

    input_norm: Tensor
    qkv_proj: Linear
    qk_norm: Tensor
    o_proj: Linear
    post_attention_norm: Tensor
    gate_up_proj: Linear
    down_proj: Linear


@dataclass(frozen=True, slots=True)
class Qwen3:
    """A loaded model; `states` is its forward, `dtype` the type of what isn't float32 anyway."""

    config: Qwen3Config
    dtype: torch.dtype
    embedding: Tensor
    layers: tuple[Layer, ...]
    final_norm: Tensor
    attention: Attention
    kind: Kind

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    @property
    def token_bytes(self) -> int:
        """About what a token takes while it goes through, in bytes."""
        config, size = self.config, self.dtype.itemsize
        rotated = (config.num_heads + config.num_kv_heads) * config.head_dim
        qkv = rotated + config.num_kv_heads * config.head_dim
        return 4 * (4 * config.hidden_size + 2 * rotated) + size * (
            3 * qkv + 3 * config.intermediate_size
        )

    @property
    def padded(self) -> bool:
        """Never: windows stand one behind the other."""
        return False

    def states(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Return the last hidden states of all tokens in order, float32 (tokens, hidden size)."""
        config = self.config
        lengths = [len(window) for window in windows]
        borders = borders_of(lengths, self.device)
        ids = on_device(np.concatenate(windows), self.device)
        states = functional.embedding(ids, self.embedding).float()
        cos_sin = rotary_cos_sin(lengths, config.head_dim, config.rope_theta, self.device)
        heads, kv_heads = config.num_heads, config.num_kv_heads
        shapes = ((len(ids), count, config.head_dim) for count in (heads, kv_heads, kv_heads))
        queries, keys, values = (states.new_empty(shape, dtype=self.dtype) for shape in shapes)
        for layer in self.layers:
            for part in _parts(states):
                qkv = queries[part], keys[part], values[part]
                _project_qkv(layer, states[part], cos_sin[part], qkv, self)
            attended = self.attention(queries, keys, values, borders)
            for part in _parts(states):
                _output_and_feed_forward(layer, states[part], attended[part], self)
        return _rms_norm(states, self.final_norm, config.rms_norm_eps)


def _parts(states: Tensor) -> list[slice]:
    """Return the rows that go through a layer together: all of them, but for a CPU."""
    step = LAYOUT_ROWS if states.device.type == "cpu" else len(states)
    return [slice(start, start + step) for start in range(0, len(states), step)]


def _project_qkv(
    layer: Layer,
    states: Tensor,
    cos_sin: Tensor,
    qkv: tuple[Tensor, Tensor, Tensor],
    model: Qwen3,
) -> None:
    """Write the queries, keys and values of the states, normed and rotated, into their places."""
    epsilon, (queries, keys, values) = model.config.rms_norm_eps, qkv
    rows = _rms_norm(states, layer.input_norm, epsilon).to(model.dtype)
    found = layer.qkv_proj(rows).view(len(rows), -1, model.config.head_dim)
    rotating = queries.shape[1] + keys.shape[1]
    rotated = apply_rotary(_rms_norm(found[:, :rotating].float(), layer.qk_norm, epsilon), cos_sin)
    queries.copy_(rotated[:, : queries.shape[1]])
    keys.copy_(rotated[:, queries.shape[1] :])
    values.copy_(found[:, rotating:])


def _output_and_feed_forward(layer: Layer, states: Tensor, attended: Tensor, model: Qwen3) -> None:
    """Add to the states, in place, the output of attention, then that of the feed-forward block."""
    states += layer.o_proj(attended)
    rows = _rms_norm(states, layer.post_attention_norm, model.config.rms_norm_eps).to(model.dtype)
    states += layer.down_proj(layer.gate_up_proj(rows))


def _rms_norm(rows: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return `x / sqrt(mean(x^2) + epsilon) * weight` over the last axis."""
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    scale = length.square_().div_(rows.shape[-1]).add_(epsilon).rsqrt_()
    scaled: Tensor = rows * scale
    return scaled.mul_(weight)


def load_qwen3(
    weights: Weights, config: Qwen3Config, dtype: torch.dtype, device: torch.device, kind: Kind
) -> Qwen3:
    """Return the model, its weights read, converted and laid out one by one.

    With `torch.int8` the matrix products are of 8-bit numbers, and everything else is float32.

    Raises:
        ModelLoadError: tensors are missing, too many, misshapen or unreadable.
    """
    weights.check(config.shapes(), _IGNORED)
    dtype = torch.float32 if dtype == torch.int8 else dtype

    def take(name: str) -> Tensor:
        return weights.take(f"{name}.weight", dtype, device)

    def norm(name: str) -> Tensor:
        return weights.take(f"{name}.weight", torch.float32, device)

    def layer(name: str) -> Layer:
        attention, mlp = f"{name}.self_attn", f"{name}.mlp"
        query = pair_dimensions(take(f"{attention}.q_proj"), config.head_dim)
        key = pair_dimensions(take(f"{attention}.k_proj"), config.head_dim)
        qkv = torch.cat((query, key, take(f"{attention}.v_proj")))
        # attention's 1 / sqrt(head_dim) rides on the norm of the queries
        query_norm = pair_dimensions(norm(f"{attention}.q_norm"), config.head_dim) / math.sqrt(
            config.head_dim
        )
        key_norm = pair_dimensions(norm(f"{attention}.k_norm"), config.head_dim)
        norms = (query_norm.expand(config.num_heads, -1), key_norm.expand(config.num_kv_heads, -1))
        return Layer(
            input_norm=norm(f"{name}.input_layernorm"),
            qkv_proj=make_linear(qkv, None, kind),
            qk_norm=torch.cat(norms),
            o_proj=make_linear(take(f"{attention}.o_proj"), None, kind),
            post_attention_norm=norm(f"{name}.post_attention_layernorm"),
            gate_up_proj=make_gate_up(take(f"{mlp}.gate_proj"), take(f"{mlp}.up_proj"), kind),
            down_proj=make_linear(take(f"{mlp}.down_proj"), None, kind),
        )

    cpu = device.type == "cpu"
    with torch.inference_mode():
        return Qwen3(
            config=config,
            dtype=dtype,
            # on a CPU a mapped file: only the rows of tokens that occur are ever in memory
            embedding=weights.take("embed_tokens.weight", None if cpu else dtype, device),
            layers=tuple(layer(f"layers.{number}") for number in range(config.num_layers)),
            final_norm=norm("norm"),
            attention=choose_attention(choose(device.type, dtype), dtype, device, config.head_dim),
            kind=kind,
        )
