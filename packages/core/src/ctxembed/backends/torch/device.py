"""Where a model runs and in which type."""

from __future__ import annotations

import torch

from ctxembed.errors import ConfigurationError
from ctxembed.settings import Dtype


def pick_device(name: str | None) -> torch.device:
    """Return the device named, else the first GPU, else the CPU.

    Raises:
        ConfigurationError: there is no such device on this machine.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = (
            f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "no GPU"
        )
        message = f"there is no device {name!r}: this PyTorch sees the CPU and {gpus}."
        raise ConfigurationError(message) from error
    return device


def pick_dtype(name: Dtype, device: torch.device) -> torch.dtype:
    """Return the type of weights and matrix products: "auto" is bfloat16 on CUDA, else float32."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32
