"""Whether this PyTorch has oneDNN inside, under the names that the fast linear layers call."""

import pytest
import torch

from ctxembed.backends.torch.linear import make_linear


def has_onednn() -> bool:
    try:
        make_linear(torch.eye(16), None, "onednn")(torch.eye(16))
    except (AttributeError, RuntimeError):
        return False
    return True


needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this PyTorch has no oneDNN inside")
