"""Attention inside each window of a packed sequence, at a memory that grows with its length only.

Queries come as `(tokens, heads, head_dim)`, already scaled; keys and values as `(tokens, kv_heads,
head_dim)`. There is no mask: a window sees all of itself and nothing else. What comes back has one
row of `heads * head_dim` numbers per token, and may lie where the queries were.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ctxembed.backends.torch.device import on_device
from ctxembed.backends.torch.linear import Kind, matmul


@dataclass(frozen=True, slots=True)
class Borders:
    """Where windows of a packed sequence begin and end."""

    windows: tuple[slice, ...]
    offsets: Tensor
    """The same as one int32 tensor on the device, (windows + 1)."""
    longest: int


Attention = Callable[[Tensor, Tensor, Tensor, Borders], Tensor]

_TILE_BYTES = 8 * 2**20
_LEAST_ROWS, _MOST_ROWS = 128, 1024
_SMALL_WINDOW = 512
_SPLIT_KEYS, _SPLIT_ROWS = 2048, 512
_LOG2_E = math.log2(math.e)
_PROBE_LENGTHS = (3, 17, 1)
_PROBE_TOLERANCE = 2e-2


def borders_of(lengths: Sequence[int], device: torch.device) -> Borders:
    """Return the borders of windows of these lengths, one behind the other."""
    ends = [*accumulate(lengths, initial=0)]
    offsets = on_device(np.array(ends, np.int32), device)
    return Borders(tuple(slice(*pair) for pair in pairwise(ends)), offsets, max(lengths))


def choose_attention(
    kind: Kind, dtype: torch.dtype, device: torch.device, head_dim: int
) -> Attention:
    """Return the fastest attention that works: `kind` multiplies float matrices on this device."""
    if kind == "onednn":
        return _in_tiles
    if device.type == "cuda" and dtype == torch.bfloat16 and _packed_works(device, head_dim):
        return _packed
    return _fused


def _packed(queries: Tensor, keys: Tensor, values: Tensor, borders: Borders) -> Tensor:
    """Take all windows in one kernel, which knows where each begins."""
    from torch.nn.attention.varlen import varlen_attn

    ends, longest = borders.offsets, borders.longest
    several = queries.shape[1] > keys.shape[1]
    found = varlen_attn(
        queries, keys, values, ends, ends, longest, longest, scale=1.0, enable_gqa=several
    )
    return cast(Tensor, found).flatten(1)


def _packed_works(device: torch.device, head_dim: int) -> bool:
    """Tell whether this PyTorch and this GPU have the kernel, and it gives what it should."""
    random = torch.Generator().manual_seed(0)
    drawn = torch.randn(3, sum(_PROBE_LENGTHS), 2, head_dim, generator=random)
    queries, keys, values = drawn.to(device, torch.bfloat16).div_(head_dim**0.25)
    keys, values = keys[:, :1], values[:, :1]
    borders = borders_of(_PROBE_LENGTHS, device)
    with torch.inference_mode():
        try:
            found = _packed(queries, keys, values, borders)
        except torch.OutOfMemoryError:  # says nothing of the kernel
            raise
        except (ImportError, TypeError, RuntimeError, NotImplementedError):
            return False
        expected = _fused(queries, keys, values, borders)
        return bool((found - expected).abs().max() <= _PROBE_TOLERANCE)


def _fused(queries: Tensor, keys: Tensor, values: Tensor, borders: Borders) -> Tensor:
    """Take a window at a time, with what PyTorch has for it."""
    mixed = torch.empty_like(queries)
    several = queries.shape[1] > keys.shape[1]
    if several and _needs_own_heads(queries):
        group = queries.shape[1] // keys.shape[1]
        keys, values = (each.repeat_interleave(group, 1) for each in (keys, values))
        several = False
    for window in borders.windows:
        mine, key, value = (
            each[window].transpose(0, 1).unsqueeze(0) for each in (queries, keys, values)
        )
        found = functional.scaled_dot_product_attention(
            mine, key, value, scale=1.0, enable_gqa=several
        )
        mixed[window] = found[0].transpose(0, 1)
    return mixed.flatten(1)


def _needs_own_heads(queries: Tensor) -> bool:
    """Tell whether keys are to be repeated for all heads of a group.

    Of the kernels for a GPU only those for 16-bit numbers know groups. For others PyTorch would
    take one that keeps a matrix of tokens by tokens.
    """
    return queries.device.type == "cuda" and queries.dtype == torch.float32


def _in_tiles(queries: Tensor, keys: Tensor, values: Tensor, borders: Borders) -> Tensor:
    """Take a window at a time by products of oneDNN, whose scores stay in the processor's cache.

    Heads that share a key head are rows of one product. What is found lies where the queries were.
    """
    group = queries.shape[1] // keys.shape[1]
    for window in borders.windows:
        mine, key, value = queries[window], keys[window], values[window]
        if len(mine) <= _SMALL_WINDOW and mine.dtype == torch.bfloat16:
            _at_once(mine, key, value)
            continue
        for head in range(keys.shape[1]):
            heads = slice(head * group, (head + 1) * group)
            _one_head(mine[:, heads], key[:, head].contiguous(), value[:, head].contiguous())
    return queries.flatten(1)


def _at_once(queries: Tensor, keys: Tensor, values: Tensor) -> None:
    """Take all heads together: fewer calls, where windows are short."""
    rows, kv_heads, head_dim = keys.shape
    grouped = queries.view(rows, kv_heads, -1, head_dim).transpose(0, 1)
    scores = torch.bmm(grouped.reshape(kv_heads, -1, head_dim), keys.permute(1, 2, 0).contiguous())
    torch.softmax(scores, -1, out=scores)
    found = torch.bmm(scores, values.transpose(0, 1).contiguous())
    grouped.copy_(found.view_as(grouped))


def _one_head(queries: Tensor, keys: Tensor, values: Tensor) -> None:
    """Go through the rows of `(rows, group, head_dim)` in tiles."""
    rows, group, head_dim = queries.shape
    fit = _TILE_BYTES // (len(keys) * keys.element_size())
    mix, height = _by_rows, min(max(fit, _LEAST_ROWS), _MOST_ROWS)
    if fit < _SPLIT_ROWS and keys.dtype == torch.float32:  # bfloat16 gains nothing by it
        mix, height = _by_rows_and_keys, _SPLIT_ROWS
    step = max(1, height // group)
    for start in range(0, rows, step):
        part = queries[start : start + step]
        part.copy_(mix(part.reshape(-1, head_dim), keys, values).view_as(part))


def _by_rows(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    scores = matmul(queries, keys)
    torch.softmax(scores, -1, out=scores)
    return matmul(scores, values.t())


def _by_rows_and_keys(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Take keys in parts too, sums kept relative to the highest score so far.

    Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018). Powers are of two:
    PyTorch's `exp` takes three times as long as its `exp2` where MKL computes it and the processor
    is AMD's.
    """
    queries = queries * _LOG2_E
    mixed = torch.zeros_like(queries)
    highest = queries.new_full((len(queries), 1), -torch.inf)
    total = queries.new_zeros((len(queries), 1))
    for key, value in zip(keys.split(_SPLIT_KEYS), values.split(_SPLIT_KEYS), strict=True):
        scores = matmul(queries, key)
        higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
        shrunk = (highest - higher).exp2_()
        scores.sub_(higher).exp2_()
        total.mul_(shrunk).add_(scores.sum(-1, keepdim=True))
        mixed.mul_(shrunk).add_(matmul(scores, value.t()))
        highest = higher
    return mixed.div_(total)
