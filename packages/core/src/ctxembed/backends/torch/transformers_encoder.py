"""Any other mean-pooled model, through the stock classes of transformers.

No code of a checkpoint is run. Windows are padded to the longest of the batch, under a mask, unless
the model is found to look past the mask, or computes with 8 bits: then each goes through alone.
What it looks at is tried in float32, where rounding hides nothing, before weights are rounded and
the linear layers exchanged for those of `linear`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)
from transformers.utils import logging

from ctxembed.backends.padding_check import ignores_padding, probe_windows
from ctxembed.backends.tokenizer import ChunkTokenizer
from ctxembed.backends.torch.linear import Kind, make_linear
from ctxembed.backends.torch.lora import merge
from ctxembed.backends.torch.weights import Weights
from ctxembed.encoding import Floats
from ctxembed.errors import ConfigurationError, ModelLoadError

_UNUSED = "pooler"
_STATES_PER_TOKEN, _USUAL_HIDDEN_SIZE = 24, 1024


class FastLinear(nn.Module):
    """Stands in for an `nn.Linear` of a stock model."""

    def __init__(self, linear: nn.Linear, kind: Kind) -> None:
        super().__init__()
        bias = None if linear.bias is None else linear.bias.detach()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.linear = make_linear(linear.weight.detach(), bias, kind)

    def forward(self, rows: Tensor) -> Tensor:
        """Return the layer's output for `(..., in_features)`."""
        return self.linear(rows)


@dataclass(frozen=True, slots=True)
class Encoder:
    """A stock model, the id that fills up its batches, and where it is."""

    model: nn.Module
    pad: int
    device: torch.device
    kind: Kind
    padded: bool = True

    @property
    def token_bytes(self) -> int:
        """About what a token takes on its way through, in bytes, guessed from the hidden size."""
        hidden_size = getattr(self.model.config, "hidden_size", _USUAL_HIDDEN_SIZE)
        return _STATES_PER_TOKEN * 4 * int(hidden_size)

    def states(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Return the last hidden states of all tokens in order, float32 (tokens, hidden size)."""
        if self.padded:
            return self._run(windows)
        return torch.cat([self._run([window]) for window in windows])

    def states_apart(self, windows: Sequence[Sequence[int]]) -> list[Floats]:
        """Return the last hidden states of each window, float32 (tokens, hidden size)."""
        apart = self.states(windows).split([len(window) for window in windows])
        return [states.numpy() for states in apart]

    def _run(self, windows: Sequence[Sequence[int]]) -> Tensor:
        lengths = torch.tensor([len(window) for window in windows])
        longest = int(lengths.max())
        ids = torch.full((len(windows), longest), self.pad)
        for row, window in zip(ids, windows, strict=True):
            row[: len(window)] = torch.tensor(list(window))
        mask = torch.arange(longest) < lengths.unsqueeze(1)
        ids, mask = ids.to(self.device), mask.to(self.device)
        found = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        real: Tensor = found[mask].float()
        return real


def load_encoder(
    weights: Weights,
    tokenizer: ChunkTokenizer,
    most: int,
    dtype: torch.dtype,
    device: torch.device,
    kind: Kind,
) -> Encoder:
    """Return the stock model of a checkpoint's type, with the fast linear layers put in.

    `most` is the tokens of its longest window, special ones not counted.

    Raises:
        ModelLoadError: transformers has no class for it, the weights don't fit, or it can't run.
    """
    directory = weights.directory
    try:
        with _quiet():
            model, report = _from_pretrained(weights)
    except Exception as error:  # whatever a model's class finds wrong with a checkpoint
        raise ModelLoadError(
            f"transformers can't load {directory} without running code of the checkpoint "
            f"({type(error).__name__}). Hint: a newer transformers may know this type of model."
        ) from error
    missing = sorted(name for name in report["missing_keys"] if _UNUSED not in name)
    if missing:
        raise ModelLoadError(
            f"{directory} lacks {', '.join(missing[:4])}: {len(missing)} tensors in all. "
            "Hint: fetch the checkpoint again."
        )
    model.eval().requires_grad_(requires_grad=False)
    merge(model, weights.changes)
    probe = probe_windows(tokenizer, most)
    with _trial(directory):
        exact = Encoder(model, tokenizer.pad, torch.device("cpu"), "torch")
        padded = ignores_padding(exact.states_apart, probe)
        causal = _is_causal(exact, probe[1])
    told = model.config
    both_ways = getattr(told, "use_bidirectional_attention", None)
    if causal and (both_ways or getattr(told, "is_causal", None) is False):
        raise ModelLoadError(
            f"{directory}: config.json asks for attention both ways (is_causal, "
            "use_bidirectional_attention), and this transformers' class reads left to right. "
            "Hint: a newer transformers may follow it; an ONNX export has it built in."
        )
    if dtype == torch.int8:
        # padding changes the last bits of attention, and these tip roundings to 8 bits
        padded = False
    if dtype == torch.bfloat16:
        _round(model)
    model.to(device)
    exchange_linears(model, kind)
    encoder = Encoder(model, tokenizer.pad, device, kind, padded)
    with _trial(directory):
        encoder.states(probe[:1])
    return encoder


def _is_causal(encoder: Encoder, window: Sequence[int]) -> bool:
    """Tell whether the first state of a window is the same whatever the last token is."""
    other = [*window[:-1], window[-2] if window[-1] != window[-2] else window[0]]
    one, two = (encoder.states([each])[0] for each in (window, other))
    return len(window) > 1 and torch.equal(one, two)


def _from_pretrained(weights: Weights) -> Any:  # noqa: ANN401 - transformers' own classes
    """Return transformers' model and what it reports.

    Where peft is installed transformers puts an adapter in by itself, so a directory with one is
    not shown to it.
    """
    options = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    if not weights.changes:
        return AutoModel.from_pretrained(
            weights.directory, trust_remote_code=False, local_files_only=True, **options
        )
    config = AutoConfig.from_pretrained(weights.directory, trust_remote_code=False)
    with torch.device("meta"):
        kind = type(AutoModel.from_config(config, trust_remote_code=False))
    return kind.from_pretrained(None, config=config, state_dict=weights.tensors(), **options)


def _round(model: nn.Module) -> None:
    """Round the weights to bfloat16, one by one, so that there are never two copies of all.

    Buffers stay as transformers leaves them too: angles of positions would be far off in bfloat16.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)


@contextmanager
def _trial(directory: Path) -> Iterator[None]:
    try:
        with _quiet(), torch.inference_mode():
            yield
    except Exception as error:  # whatever a model's class finds wrong with its inputs
        raise ModelLoadError(
            f"{directory} can't run on a few tokens ({type(error).__name__}). Hint: config.json "
            "and the tokenizer may not go with the weights, this type of model may need more than "
            'text, or run in dtype="float32" only.'
        ) from error


def exchange_linears(model: nn.Module, kind: Kind) -> None:
    """Put `FastLinear` in the place of every plain `nn.Linear`, one at a time."""
    if kind == "torch":
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, FastLinear(child, kind))


def check_reads_both_ways(config: Mapping[str, Any], *, pooling_told: bool) -> None:
    """Refuse what isn't an encoder: a decoder needs someone to say that its mean is its vector.

    Raises:
        ConfigurationError: gives the reason and the way round it.
        ModelLoadError: the model needs two inputs.
    """
    kind = config.get("model_type")
    if config.get("is_encoder_decoder"):
        raise ModelLoadError(
            f"models of type {kind!r} are encoder and decoder in one; take an encoder alone."
        )
    decoder = (
        kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    )
    _check_class(config, str(kind), decoder=decoder)
    if decoder and not pooling_told:
        raise ConfigurationError(
            f"models of type {kind!r} read left to right, and nothing says that this one pools by "
            'mean. Hint: take an encoder, or insist with pooling="mean".'
        )


def _check_class(config: Mapping[str, Any], kind: str, *, decoder: bool) -> None:
    """Refuse a checkpoint that names a class of its own where a stock one would run in silence.

    Of decoders there are classes of the stock one's name that read both ways.
    """
    auto = config.get("auto_map")
    own = str(auto.get("AutoModel") or "") if isinstance(auto, dict) else ""
    stock = MODEL_MAPPING_NAMES.get(kind)
    names = (stock,) if isinstance(stock, str) else stock or ()
    if own and names and (decoder or own.rpartition(".")[2] not in names):
        raise ConfigurationError(
            f"config.json names a class of the checkpoint's own under auto_map ({own}), which is "
            f"never run, and the stock {names[0]} may give other vectors. Hint: export it to ONNX, "
            "or take auto_map out if the stock class is what it was trained with."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and reporting the layers that it leaves out."""
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
