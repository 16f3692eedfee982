"""The forward of a Qwen3 that looks both ways, over windows packed one after another, unpadded.

The residual stream, norms and rotations are float32 whatever the type of the weights; matrix
products and attention are in the type of the weights. On a CPU tokens go through all but attention
a few hundred at a time, so that what a layer does to them finds them in the processor's cache.
"""

from __future__ import annotations

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
    make_gated,
    make_linear,
)
from ctxembed.backends.torch.qwen3_config import Architecture
from ctxembed.backends.torch.rotary import paired, turn, turns
from ctxembed.backends.torch.weights import Weights

_IGNORED = ("lm_head.weight", "rotary_emb.inv_freq")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its matrix products and the weights of its norms.

    `look` makes queries, keys and values of rows, in this order; `look_norm` is (heads + kv_heads,
    size), for queries and keys.
    """

    before_look: Tensor
    look: Linear
    look_norm: Tensor
    out: Linear
    before_inner: Tensor
    gated: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Qwen3:
    """A loaded model; `states` is its forward, `dtype` the type of what isn't float32 anyway."""

    sizes: Architecture
    dtype: torch.dtype
    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    attention: Attention
    kind: Kind

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    @property
    def token_bytes(self) -> int:
        """About what a token takes while it goes through, in bytes."""
        sizes, size = self.sizes, self.dtype.itemsize
        turned = (sizes.heads + sizes.kv_heads) * sizes.head
        seen = turned + sizes.kv_heads * sizes.head
        return 4 * (4 * sizes.width + 2 * turned) + size * (3 * seen + 3 * sizes.inner)

    @property
    def padded(self) -> bool:
        """Never: windows stand one behind the other."""
        return False

    def states(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Return the last hidden states of all tokens in order, float32 (tokens, width)."""
        sizes = self.sizes
        lengths = [len(window) for window in windows]
        borders = borders_of(lengths, self.device)
        ids = on_device(np.concatenate(windows), self.device)
        states = functional.embedding(ids, self.embedding).float()
        rotation = turns(lengths, sizes.head, sizes.theta, self.device)
        heads, kv_heads = sizes.heads, sizes.kv_heads
        shapes = ((len(ids), count, sizes.head) for count in (heads, kv_heads, kv_heads))
        queries, keys, values = (states.new_empty(shape, dtype=self.dtype) for shape in shapes)
        for layer in self.layers:
            for part in _parts(states):
                seen = queries[part], keys[part], values[part]
                _look(layer, states[part], rotation[part], seen, self)
            mixed = self.attention(queries, keys, values, borders)
            for part in _parts(states):
                _think(layer, states[part], mixed[part], self)
        return _norm(states, self.norm, sizes.epsilon)


def _parts(states: Tensor) -> list[slice]:
    """Return the rows that go through a layer together: all of them, but for a CPU."""
    step = LAYOUT_ROWS if states.device.type == "cpu" else len(states)
    return [slice(start, start + step) for start in range(0, len(states), step)]


def _look(
    layer: Layer,
    states: Tensor,
    rotation: Tensor,
    seen: tuple[Tensor, Tensor, Tensor],
    model: Qwen3,
) -> None:
    """Write what the states ask, and what they show to others, into queries, keys and values."""
    epsilon, (queries, keys, values) = model.sizes.epsilon, seen
    rows = _norm(states, layer.before_look, epsilon).to(model.dtype)
    found = layer.look(rows).view(len(rows), -1, model.sizes.head)
    turning = queries.shape[1] + keys.shape[1]
    turned = turn(_norm(found[:, :turning].float(), layer.look_norm, epsilon), rotation)
    queries.copy_(turned[:, : queries.shape[1]])
    keys.copy_(turned[:, queries.shape[1] :])
    values.copy_(found[:, turning:])


def _think(layer: Layer, states: Tensor, mixed: Tensor, model: Qwen3) -> None:
    """Add to the states, in place, what was read and what follows from it."""
    states += layer.out(mixed)
    rows = _norm(states, layer.before_inner, model.sizes.epsilon).to(model.dtype)
    states += layer.down(layer.gated(rows))


def _norm(rows: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return `x / sqrt(mean(x^2) + epsilon) * weight` over the last axis."""
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    scale = length.square_().div_(rows.shape[-1]).add_(epsilon).rsqrt_()
    scaled: Tensor = rows * scale
    return scaled.mul_(weight)


def load_qwen3(
    weights: Weights, sizes: Architecture, dtype: torch.dtype, device: torch.device, kind: Kind
) -> Qwen3:
    """Return the model, its weights read, converted and laid out one by one.

    With `torch.int8` the matrix products are of 8-bit numbers, and everything else is float32.

    Raises:
        ModelLoadError: tensors are missing, too many, misshapen or unreadable.
    """
    weights.check(sizes.shapes(), _IGNORED)
    dtype = torch.float32 if dtype == torch.int8 else dtype

    def take(name: str) -> Tensor:
        return weights.take(f"{name}.weight", dtype, device)

    def norm(name: str) -> Tensor:
        return weights.take(f"{name}.weight", torch.float32, device)

    def layer(name: str) -> Layer:
        attention, inner = f"{name}.self_attn", f"{name}.mlp"
        query = paired(take(f"{attention}.q_proj"), sizes.head)
        key = paired(take(f"{attention}.k_proj"), sizes.head)
        look = torch.cat((query, key, take(f"{attention}.v_proj")))
        # attention's 1 / sqrt(size) rides on the norm of the queries
        query_norm = paired(norm(f"{attention}.q_norm"), sizes.head) / math.sqrt(sizes.head)
        key_norm = paired(norm(f"{attention}.k_norm"), sizes.head)
        norms = (query_norm.expand(sizes.heads, -1), key_norm.expand(sizes.kv_heads, -1))
        return Layer(
            before_look=norm(f"{name}.input_layernorm"),
            look=make_linear(look, None, kind),
            look_norm=torch.cat(norms),
            out=make_linear(take(f"{attention}.o_proj"), None, kind),
            before_inner=norm(f"{name}.post_attention_layernorm"),
            gated=make_gated(take(f"{inner}.gate_proj"), take(f"{inner}.up_proj"), kind),
            down=make_linear(take(f"{inner}.down_proj"), None, kind),
        )

    cpu = device.type == "cpu"
    with torch.inference_mode():
        return Qwen3(
            sizes=sizes,
            dtype=dtype,
            # on a CPU a mapped file: only the rows of tokens that occur are ever in memory
            embedding=weights.take("embed_tokens.weight", None if cpu else dtype, device),
            layers=tuple(layer(f"layers.{number}") for number in range(sizes.layers)),
            norm=norm("norm"),
            attention=choose_attention(choose(device.type, dtype), dtype, device, sizes.head),
            kind=kind,
        )
