"""Where an ONNX graph runs: on the CPU, or on a CUDA device by its number."""

import onnxruntime as ort

from ctxembed.errors import ConfigurationError

CUDA = "CUDAExecutionProvider"
"""ONNX Runtime's name for GPUs of NVIDIA."""


def pick_gpu(device: str | None) -> int | None:
    """Return the number of the CUDA device to try, None for the CPU.

    Raises:
        ConfigurationError: no such kind of device, or a runtime built without it.
    """
    has_cuda = CUDA in ort.get_available_providers()
    if device is None:
        return 0 if has_cuda else None
    name, _, number = device.partition(":")
    if name == "cpu":
        return None
    if name != "cuda" or (number and not number.isdecimal()):
        raise ConfigurationError(f'the onnx backend runs on "cpu" or "cuda", not {device!r}.')
    if not has_cuda:
        raise ConfigurationError(
            f"device is {device!r} and this ONNX Runtime has no CUDA. "
            'Hint: python -m pip install onnxruntime-gpu, or device="cpu".'
        )
    return int(number or 0)
