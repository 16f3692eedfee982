"""Rotary positions as complex numbers: one multiplication rotates all heads of all tokens.

A head's numbers stand in pairs (i, i + head_dim/2) in the checkpoint. `pair_dimensions` brings each
pair together, in the query and key weights alike. Scores are sums over pairs, in whatever order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def rotary_cos_sin(
    lengths: Sequence[int], head_dim: int, theta: float, device: torch.device
) -> Tensor:
    """Return the cosine and sine of each token's rotary angles as complex64 `cos + i sin`.

    The shape is (tokens, 1, head_dim / 2). Positions restart with each window.
    """
    longest = max(lengths)
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
    angles = torch.outer(torch.arange(longest, device=device).float(), 1.0 / theta**exponents)
    table = torch.polar(torch.ones_like(angles), angles)
    return torch.cat([table[:length] for length in lengths]).unsqueeze(1)


def pair_dimensions(weight: Tensor, head_dim: int) -> Tensor:
    """Return a head-by-head weight with the numbers of each rotary pair side by side."""
    halves = weight.unflatten(0, (-1, 2, head_dim // 2))
    together: Tensor = halves.transpose(1, 2).reshape(weight.shape)
    return together


def apply_rotary(heads: Tensor, cos_sin: Tensor) -> Tensor:
    """Rotate `(tokens, heads, head_dim)` float32 in place by the angles of `rotary_cos_sin`."""
    pairs = torch.view_as_complex(heads.unflatten(-1, (-1, 2)))
    pairs.mul_(cos_sin)
    return heads
