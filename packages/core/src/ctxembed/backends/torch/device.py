"""Where a model runs, in which type, and the way there."""

import torch
from torch import Tensor

from ctxembed.backends.torch.linear import TYPICAL_ROWS
from ctxembed.encoding import Array
from ctxembed.errors import ConfigurationError
from ctxembed.settings import Dtype

EVERY_GPU = "cuda:*"

_DEVICE_BATCH_TOKENS = 32_768
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


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
        gpus = f"{gpu_count()} CUDA devices" if gpu_count() else "no GPU"
        raise ConfigurationError(
            f"there is no device {name!r}: this PyTorch sees the CPU and {gpus}."
        ) from error
    return device


def pick_devices(name: str | None) -> list[torch.device]:
    """Return the device named, or with "cuda:*" every GPU.

    Raises:
        ConfigurationError: there is no such device on this machine.
    """
    if name != EVERY_GPU:
        return [pick_device(name)]
    count = gpu_count()
    if not count:
        raise ConfigurationError(
            'device is "cuda:*" and this PyTorch sees no GPU. Hint: device="cpu".'
        )
    return [pick_device(f"cuda:{number}") for number in range(count)]


def gpu_count() -> int:
    """Return how many GPUs this PyTorch sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def pick_dtype(name: Dtype, device: torch.device) -> torch.dtype:
    """Return the type of weights and matrix products: "auto" is bfloat16 on CUDA, else float32.

    Raises:
        ConfigurationError: int8 anywhere but on a CPU.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if name == "int8" and device.type != "cpu":
        raise ConfigurationError(
            f'dtype="int8" is for a CPU and the device is {device}. Hint: dtype="bfloat16".'
        )
    return _DTYPES[name]


def batch_tokens(device: torch.device, token_bytes: int) -> int:
    """Return the tokens of a full batch: what fits a CPU's caches, or a GPU's free memory.

    `token_bytes` is about what a token takes while it goes through the model.
    """
    if device.type != "cuda":
        return TYPICAL_ROWS if device.type == "cpu" else _DEVICE_BATCH_TOKENS
    free, _ = torch.cuda.mem_get_info(device)
    # what PyTorch holds and doesn't use, as after another embedder's work, is free too
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, min(_DEVICE_BATCH_TOKENS, free // 2 // token_bytes))


def on_device(numbers: Array, device: torch.device) -> Tensor:
    """Return numbers as a tensor on a device, on their way there if it is a GPU."""
    tensor = torch.from_numpy(numbers)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
