"""One loaded model: its tokenizer, its weights and the queue in front of them."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ctxembed.backends.config import is_pplx
from ctxembed.backends.model_directory import open_tokenizer
from ctxembed.backends.model_queue import ModelQueue
from ctxembed.backends.threads import limit_torch_threads
from ctxembed.backends.tokenizer import ChunkTokenizer
from ctxembed.backends.torch.linear import Kind, choose
from ctxembed.backends.torch.qwen3 import load_qwen3
from ctxembed.backends.torch.qwen3_config import read_qwen3_config
from ctxembed.backends.torch.weights import find_weights
from ctxembed.batches import UNLIMITED
from ctxembed.checkpoint import weight_files


class TokenModel(Protocol):
    """What both kinds of model do."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def kind(self) -> Kind:
        """Which library multiplies its matrices."""

    @property
    def token_bytes(self) -> int:
        """About how many bytes of memory one token takes on its way through the model."""

    @property
    def padded(self) -> bool:
        """Whether the windows of a batch are padded to the length of the longest."""

    def states(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Return the last hidden states of all tokens in order, float32 (tokens, hidden size)."""


@dataclass(slots=True)
class MemoryLimit:
    """How many tokens fit into a device's memory together, as far as is known."""

    tokens: int = UNLIMITED


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model in memory, freed with the last backend that holds it."""

    tokenizer: ChunkTokenizer
    model: TokenModel
    queue: ModelQueue
    memory: MemoryLimit = field(default_factory=MemoryLimit)


def load_model(
    directory: Path, config: Mapping[str, Any], dtype: torch.dtype, device: torch.device
) -> Loaded:
    """Return the model of a directory, loaded in the thread that it will run in.

    OpenMP hangs in the child of a fork where a thread used it before; no caller's thread ever does.

    Raises:
        ModelLoadError: weights or tokenizer are absent, damaged, or of an unknown kind.
    """
    queue = ModelQueue()
    return Loaded(*queue.submit(_load, directory, config, dtype, device).result(), queue)


def _load(
    directory: Path, config: Mapping[str, Any], dtype: torch.dtype, device: torch.device
) -> tuple[ChunkTokenizer, TokenModel]:
    limit_torch_threads()
    kind = choose(device.type, dtype)
    tokenizer, max_tokens = open_tokenizer(directory, config)
    weights = find_weights(directory)
    weights.check_sizes(config)
    if not is_pplx(config):
        # brings transformers along, which takes a second
        from ctxembed.backends.torch.transformers_encoder import load_encoder

        return tokenizer, load_encoder(weights, tokenizer, max_tokens, dtype, device, kind)
    return tokenizer, load_qwen3(weights, read_qwen3_config(config), dtype, device, kind)


def weights_key(
    directory: Path, digest: str, dtype: torch.dtype, device: torch.device
) -> Hashable:
    """Return what tells loaded models apart: files as they are now, type and device.

    Times and sizes alone are not enough: a copy can bring new weights along under an old time.
    """
    described = [*directory.glob("*.json"), *directory.glob("vocab.txt")]
    paths = [*sorted(described), *weight_files(directory, "safetensors")]
    states = [path.stat() for path in paths]
    stamps = tuple(
        (path.name, state.st_mtime_ns, state.st_size)
        for path, state in zip(paths, states, strict=True)
    )
    return "torch", directory.resolve(), digest, stamps, dtype, device
