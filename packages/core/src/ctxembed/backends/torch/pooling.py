"""From token states to rows: one mean per chunk for the whole batch, and codes, on the device.

Codes are those of `ctxembed.encoding`, which is the definition; the tests hold the two together.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ctxembed.backends.tokenizer import Span
from ctxembed.backends.torch.device import on_device
from ctxembed.encoding import Form


def segment_means(states: Tensor, spans: Sequence[Span]) -> Tensor:
    """Return the float32 mean of the states of each span, shape (spans, hidden size)."""
    sizes = [stop - start for start, stop in spans]
    tokens = on_device(np.concatenate([np.arange(*span) for span in spans]), states.device)
    firsts = on_device(np.cumsum([0, *sizes[:-1]]), states.device)
    return functional.embedding_bag(tokens, states, firsts, mode="mean")


def in_form(pooled: Tensor, form: Form) -> Tensor:
    """Return rows as they are, their int8 codes, or int8 +1 and -1."""
    if form == "int8":
        return pooled.tanh().mul_(127).round_().clamp_(-128, 127).to(torch.int8)
    if form == "binary":
        return (pooled >= 0).to(torch.int8).mul_(2).sub_(1)
    return pooled
