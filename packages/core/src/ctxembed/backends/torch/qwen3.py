"""The forward of a Qwen3 that looks both ways, over windows packed one after another, unpadded.

The residual stream, norms and rotations are float32 whatever the type of the weights; matrix
products and attention are in the type of the weights. Long sequences go through a layer a block of
rows at a time, so that only states, keys and values are as long as the sequence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

import torch
from torch import Tensor
from torch.nn import functional

from ctxembed.backends.torch.architecture import Architecture
from ctxembed.backends.torch.attention import Attend, attend, choose_attention
from ctxembed.backends.torch.linear import Kind, Linear, make_linear
from ctxembed.backends.torch.rotary import paired, turn, turns
from ctxembed.backends.torch.weights import Weights

_IGNORED = ("lm_head.weight", "rotary_emb.inv_freq")
_BLOCK_ROWS = {"cpu": 2048}
_DEVICE_BLOCK_ROWS = 32_768


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: four matrix products and the weights of its norms."""

    before_attention: Tensor
    query: Linear
    query_norm: Tensor
    key_value: Linear
    key_norm: Tensor
    out: Linear
    before_inner: Tensor
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Qwen3:
    """A loaded model; `states` is its forward."""

    sizes: Architecture
    dtype: torch.dtype
    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    one: Attend
    kind: Kind

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    @property
    def padded(self) -> bool:
        """Never: windows stand one behind the other."""
        return False

    def states(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Return the last hidden states of all tokens in order, float32 (tokens, width)."""
        lengths = [len(window) for window in windows]
        ids = torch.tensor(list(chain.from_iterable(windows)), device=self.device)
        borders = [slice(*pair) for pair in pairwise(accumulate(lengths, initial=0))]
        states = functional.embedding(ids, self.embedding).float()
        rotation = turns(lengths, self.sizes.head, self.sizes.theta, self.device)
        for layer in self.layers:
            _through(layer, states, rotation, borders, self)
        return _norm(states, self.norm, self.sizes.epsilon)


def _through(
    layer: Layer, states: Tensor, rotation: Tensor, windows: Sequence[slice], model: Qwen3
) -> None:
    """Take the states through one layer, in place."""
    sizes, dtype = model.sizes, model.dtype
    blocks = _blocks(len(states), states.device.type)
    normed = [
        _norm(states[block], layer.before_attention, sizes.epsilon).to(dtype) for block in blocks
    ]
    keys = states.new_empty(sizes.kv_heads, len(states), sizes.head, dtype=dtype)
    values = torch.empty_like(keys)
    for block, rows in zip(blocks, normed, strict=True):
        both = layer.key_value(rows).view(len(rows), 2, sizes.kv_heads, sizes.head)
        key = _norm(both[:, 0].float(), layer.key_norm, sizes.epsilon)
        keys[:, block] = turn(key, rotation[block]).transpose(0, 1)
        values[:, block] = both[:, 1].transpose(0, 1)
    for block in blocks:
        rows = normed.pop(0)
        query = layer.query(rows).view(len(rows), sizes.heads, sizes.head).float()
        query = turn(_norm(query, layer.query_norm, sizes.epsilon), rotation[block])
        grouped = query.unflatten(1, (sizes.kv_heads, sizes.group)).transpose(0, 1)
        queries = torch.empty(grouped.shape, dtype=dtype, device=states.device).copy_(grouped)
        mine = states[block]
        mine += layer.out(attend(queries, keys, values, block, windows, model.one))
        rows = _norm(mine, layer.before_inner, sizes.epsilon).to(dtype)
        gate, up = layer.gate_up(rows).chunk(2, dim=-1)
        mine += layer.down(functional.silu(gate).mul_(up))


def _norm(rows: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return `x / sqrt(mean(x^2) + epsilon) * weight` over the last axis."""
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    scale = length.square_().div_(rows.shape[-1]).add_(epsilon).rsqrt_()
    scaled: Tensor = rows * scale
    return scaled.mul_(weight)


def _blocks(rows: int, device: str) -> list[slice]:
    step = _BLOCK_ROWS.get(device, _DEVICE_BLOCK_ROWS)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def load_qwen3(
    weights: Weights, sizes: Architecture, dtype: torch.dtype, device: torch.device, kind: Kind
) -> Qwen3:
    """Return the model, its weights read, converted and laid out one by one.

    Raises:
        ModelLoadError: tensors are missing, too many, misshapen or unreadable.
    """
    weights.check(sizes.shapes(), _IGNORED)

    def take(name: str) -> Tensor:
        return weights.take(f"{name}.weight", dtype, device)

    def norm(name: str) -> Tensor:
        return weights.take(f"{name}.weight", torch.float32, device)

    def layer(name: str) -> Layer:
        attention, inner = f"{name}.self_attn", f"{name}.mlp"
        query = paired(take(f"{attention}.q_proj"), sizes.head)
        key = paired(take(f"{attention}.k_proj"), sizes.head)
        key_value = torch.cat((key, take(f"{attention}.v_proj")))
        gate_up = torch.cat((take(f"{inner}.gate_proj"), take(f"{inner}.up_proj")))
        return Layer(
            before_attention=norm(f"{name}.input_layernorm"),
            query=make_linear(query, None, kind),
            # attention's 1 / sqrt(size) rides on the norm of the queries
            query_norm=paired(norm(f"{attention}.q_norm"), sizes.head) / math.sqrt(sizes.head),
            key_value=make_linear(key_value, None, kind),
            key_norm=paired(norm(f"{attention}.k_norm"), sizes.head),
            out=make_linear(take(f"{attention}.o_proj"), None, kind),
            before_inner=norm(f"{name}.post_attention_layernorm"),
            gate_up=make_linear(gate_up, None, kind),
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
            one=choose_attention(kind, dtype),
            kind=kind,
        )
