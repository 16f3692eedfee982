"""Whether this PyTorch has oneDNN inside, under the names that the fast linear layers call."""

import pytest
import torch

from ctxembed.backends.torch.linear import make_linear


def has_onednn(dtype: torch.dtype) -> bool:
    one = torch.eye(16, dtype=dtype)
    try:
        make_linear(one, None, "onednn")(one)
    except (AttributeError, RuntimeError):
        return False
    return True


needs_onednn = pytest.mark.skipif(
    not has_onednn(torch.float32), reason="this PyTorch has no oneDNN inside"
)
ONEDNN_DTYPES = [
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(
            not has_onednn(torch.bfloat16),
            reason="oneDNN multiplies no bfloat16 on this processor (it needs AVX-512)",
        ),
    ),
]
"""The types that oneDNN multiplies here; without bfloat16, `choose` never takes it for that."""
