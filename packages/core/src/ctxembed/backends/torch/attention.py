"""Attention inside each window of a packed sequence, at a memory that grows with its length only.

Queries come as `(kv_heads, rows, group, size)`, already scaled; keys and values as
`(kv_heads, tokens, size)`. There is no mask: a window sees all of itself and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ctxembed.backends.torch.linear import Kind, product

Attend = Callable[[Tensor, Tensor, Tensor, Tensor], None]
"""Takes queries, keys, values and where the result goes: `(rows, kv_heads, group, size)`."""

_TILE_BYTES = 4 * 2**20
_LEAST_ROWS, _MOST_ROWS = 128, 1024
_SMALL_WINDOW = 512


def choose_attention(kind: Kind, dtype: torch.dtype) -> Attend:
    """Return the attention that goes with a kind of linear layer."""
    if kind == "torch":
        return _fused
    return _tiled_or_at_once if dtype == torch.bfloat16 else _tiled


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    block: slice,
    windows: Sequence[slice],
    one: Attend,
) -> Tensor:
    """Return what a block of tokens of the packed sequence reads, shape (rows, heads * size)."""
    kv_heads, rows, group, size = queries.shape
    mixed = queries.new_empty(rows, kv_heads, group, size)
    for mine, seen in _parts(block, windows):
        one(queries[:, mine], keys[:, seen], values[:, seen], mixed[mine])
    return mixed.view(rows, kv_heads * group * size)


def _parts(block: slice, windows: Sequence[slice]) -> Iterator[tuple[slice, slice]]:
    """Yield the rows of a block inside each window, counted from its start, and the window."""
    for window in windows:
        start, stop = max(block.start, window.start), min(block.stop, window.stop)
        if start < stop:
            yield slice(start - block.start, stop - block.start), window


def _fused(queries: Tensor, keys: Tensor, values: Tensor, mixed: Tensor) -> None:
    kv_heads, rows, group, size = queries.shape
    heads = queries.transpose(1, 2).reshape(1, kv_heads * group, rows, size)
    found = functional.scaled_dot_product_attention(
        heads, keys.unsqueeze(0), values.unsqueeze(0), scale=1.0, enable_gqa=group > 1
    )
    mixed.copy_(found.view(kv_heads, group, rows, size).permute(2, 0, 1, 3))


def _tiled_or_at_once(queries: Tensor, keys: Tensor, values: Tensor, mixed: Tensor) -> None:
    """Take all heads at once where windows are short: fewer calls, equal speed."""
    if keys.shape[1] > _SMALL_WINDOW:
        _tiled(queries, keys, values, mixed)
        return
    kv_heads, rows, group, size = queries.shape
    scores = torch.bmm(queries.reshape(kv_heads, rows * group, size), keys.transpose(1, 2))
    torch.softmax(scores, -1, out=scores)
    found = torch.bmm(scores, values).view(kv_heads, rows, group, size)
    mixed.copy_(found.transpose(0, 1))


def _tiled(queries: Tensor, keys: Tensor, values: Tensor, mixed: Tensor) -> None:
    """Go through rows in tiles whose scores stay in the cache, a key head at a time."""
    kv_heads, rows, group, size = queries.shape
    tile = _TILE_BYTES // (keys.shape[1] * keys.element_size())
    step = max(1, min(max(tile, _LEAST_ROWS), _MOST_ROWS) // group)
    for head in range(kv_heads):
        key, value = keys[head], values[head].t()
        for start in range(0, rows, step):
            part = queries[head, start : start + step]
            scores = product(part.reshape(-1, size), key)
            torch.softmax(scores, -1, out=scores)
            mixed[start : start + step, head] = product(scores, value).view_as(part)
