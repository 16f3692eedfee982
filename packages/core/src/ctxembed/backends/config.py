"""What `config.json` says of a checkpoint: its `ModelSpec`, and whether it is an embedder at all.

Both local backends read it here, so that the same checkpoint means the same in either. Weights and
tokenizers are not touched.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctxembed.checkpoint import ADAPTER_CONFIG, PPLX_TYPE
from ctxembed.errors import ConfigurationError, ModelLoadError
from ctxembed.models import UNTRAINED_WEIGHT, UNTRAINED_WINDOW, ModelSpec

_HIDDEN_SIZES = ("hidden_size", "d_model", "dim", "n_embd")
_POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")
_POSITIONS_UNTOLD = 512
# These count positions from the padding id on: 514 rows of positions are 512 tokens.
_OFFSET_TYPES = frozenset(
    (
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "longformer",
        "luke",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    )
)

# Endings of classes whose weights were trained to label, not to embed.
_LABELS = ("Classification", "QuestionAnswering", "MultipleChoice", "RewardModel")


def read_config(directory: Path) -> dict[str, Any]:
    """Return the `config.json` of a model directory, or raise `ModelLoadError`."""
    values = read_json(directory / "config.json")
    if values is None and (directory / ADAPTER_CONFIG).is_file():
        raise ModelLoadError(
            f"{directory} is an adapter alone: {ADAPTER_CONFIG} without config.json. Hint: copy "
            "it into the directory of the model that it belongs to."
        )
    if not isinstance(values, dict):
        raise ModelLoadError(
            f"{directory} has no config.json. Hint: pass a directory that has config.json, "
            "tokenizer.json and the weights."
        )
    if not isinstance(values.get("model_type"), str | None):
        raise ModelLoadError(
            f"{directory}: config.json should say a name under model_type. Hint: fetch it again."
        )
    return values


def is_pplx(config: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint is a pplx-embed v1 model."""
    return config.get("model_type") == PPLX_TYPE


def check_weights(directory: Path, config: Mapping[str, Any]) -> None:
    """Refuse weights that are quantised by a library of its own (bitsandbytes, GPTQ, AWQ, ...).

    Raises:
        ModelLoadError: names the method, and what to take instead.
    """
    told = config.get("quantization_config")
    if told:
        method = told.get("quant_method") if isinstance(told, dict) else told
        raise ModelLoadError(
            f"{directory}: config.json says {method} under quantization_config, and no backend "
            "here reads such weights. Hint: take the checkpoint that it was made from, in float32 "
            "or bfloat16."
        )


def check_embeds(directory: Path, config: Mapping[str, Any]) -> None:
    """Refuse a classifier or reranker: its token states were never meant to be averaged.

    A `modules.json` beside it says that it is an embedder after all.

    Raises:
        ConfigurationError: names the class, and the way round it.
    """
    names = config.get("architectures")
    found = [str(name) for name in names] if isinstance(names, list) else []
    labels = next((name for name in found if name.endswith(_LABELS)), None)
    if labels is not None and not (directory / "modules.json").is_file():
        raise ConfigurationError(
            f"{directory}: config.json says {labels} under architectures, which labels texts and "
            'embeds none. Hint: take an embedding model, or insist with pooling="mean".'
        )


def first_position(config: Mapping[str, Any]) -> int:
    """Return the position of a window's first token: 0, or behind the padding id."""
    if config.get("model_type") not in _OFFSET_TYPES:
        return 0
    return (_number(config, ("pad_token_id",)) or 0) + 1


def spec_from_config(config: Mapping[str, Any], name: str, specials: int) -> ModelSpec:
    """Return the record of a checkpoint; `specials` tokens of each window are its tokenizer's own.

    Raises:
        ModelLoadError: config.json does not give the hidden size.
    """
    hidden_size = _number(config, _HIDDEN_SIZES)
    if hidden_size is None:
        names = ", ".join(_HIDDEN_SIZES)
        raise ModelLoadError(
            f"{name}: config.json gives no hidden size ({names}). Hint: fetch the checkpoint again."
        )
    tokens = (_number(config, _POSITIONS) or _POSITIONS_UNTOLD) - specials
    tokens -= first_position(config)
    if is_pplx(config):
        return _pplx(config, name, hidden_size, tokens)
    return ModelSpec(
        name=name,
        dimensions=hidden_size,
        max_tokens=tokens,
        window_tokens=min(UNTRAINED_WINDOW, tokens),
        context_weight=UNTRAINED_WEIGHT,
    )


def _pplx(config: Mapping[str, Any], name: str, hidden_size: int, tokens: int) -> ModelSpec:
    auto = config.get("auto_map")
    model = str(auto.get("AutoModel")) if isinstance(auto, dict) else ""
    contextual = model.endswith("ContextualModel")
    return ModelSpec(
        name=name,
        dimensions=hidden_size,
        max_tokens=tokens,
        contextual=contextual,
        quantizer="tanh",
        window_tokens=tokens,
        overlap_share=1 / 8,
        context_weight=1.0 if contextual else 0.0,
        neighbour_weight=0.0,
        separator="<|endoftext|>",
    )


def _number(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    values = (config.get(name) for name in names)
    return next((value for value in values if isinstance(value, int) and value > 0), None)


def read_json(path: Path) -> Any:  # noqa: ANN401 - what JSON holds is for the caller to check
    """Return what a JSON file holds, None where there is no file; `ModelLoadError` if broken."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelLoadError(
            f"{path} is not JSON that can be read. Hint: fetch the file again."
        ) from error
