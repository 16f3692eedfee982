"""A checkpoint's own description of itself: `ModelSpec` from `config.json`, and how it pools.

Both local backends read it here, so that the same checkpoint means the same in either. Weights and
tokenizers are not touched.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ctxembed.checkpoint import PPLX_TYPE
from ctxembed.errors import ConfigurationError, ModelLoadError
from ctxembed.models import UNTRAINED_WEIGHT, UNTRAINED_WINDOW, ModelSpec
from ctxembed.settings import Pooling

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

# Parts of a sentence-transformers model that the mean of tokens, and codes of it, stand for.
_PARTS = frozenset(("Transformer", "Pooling", "Normalize"))
_PPLX_PARTS = "st_quantize"
_PROMPTS = ("query", "document", "passage")


def read_config(directory: Path) -> dict[str, Any]:
    """Return the `config.json` of a model directory, or raise `ModelLoadError`."""
    path = directory / "config.json"
    values = read_json(path)
    if not isinstance(values, dict):
        raise ModelLoadError(
            f"{directory} has no config.json. Hint: pass a directory that has config.json, "
            "tokenizer.json and the weights."
        )
    return values


def is_pplx(config: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint is a pplx-embed v1 model."""
    return config.get("model_type") == PPLX_TYPE


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


def check_pooling(directory: Path, pooling: Pooling) -> None:
    """Refuse a checkpoint whose vectors aren't means of tokens, unless `pooling` is "mean".

    Sentence-transformers checkpoints say how they pool; where nothing is said, it is by mean. Any
    part but the model, its pooling and its norm is refused in any case: nothing here would apply
    it.

    Raises:
        ConfigurationError: gives the reason and the way round it.
        ModelLoadError: the list of parts is no such list.
    """
    modules = _modules(directory)
    other = next((kind for kind, _ in modules if kind not in _PARTS), None)
    if other is not None:
        raise ConfigurationError(
            f"{directory} has another layer ({other}) beside the model and its pooling, which no "
            "backend here applies. Hint: take a model without."
        )
    if pooling == "mean":
        return
    prompts = _prompts(directory)
    prompted = any(prompts.get(name) for name in _PROMPTS)
    reasons = (_objection(module, prompted=prompted) for module in modules)
    reason = next((why for why in reasons if why), None)
    if reason is not None:
        raise ConfigurationError(
            f"{directory} {reason}: means over a chunk's tokens are not what it was trained for. "
            'Hint: take a mean-pooled model, or insist with pooling="mean".'
        )


def with_prompts(spec: ModelSpec, directory: Path) -> ModelSpec:
    """Return the record with the prefixes that a sentence-transformers checkpoint was trained with.

    `config_sentence_transformers.json` names prompts; "query" is the query's, "document" or
    "passage" the document's.
    """
    texts = _prompts(directory)
    if not texts:
        return spec
    return replace(
        spec,
        query_prefix=texts.get("query", ""),
        document_prefix=texts.get("document", texts.get("passage", "")),
    )


def _prompts(directory: Path) -> dict[str, str]:
    values = read_json(directory / "config_sentence_transformers.json")
    prompts = values.get("prompts") if isinstance(values, dict) else None
    if not isinstance(prompts, dict):
        return {}
    return {name: text for name, text in prompts.items() if isinstance(text, str)}


def _modules(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the kind and the configuration of each part of a sentence-transformers model.

    That which makes codes of a pplx model's vectors is left out: codes are made here too.
    """
    path = directory / "modules.json"
    listed = read_json(path)
    if listed is None:
        listed = [{"type": "Pooling", "path": "1_Pooling"}]
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise ModelLoadError(
            f"{path} is not a list of a model's parts. Hint: fetch the file again."
        )
    config = read_json(directory / "config.json")
    pplx = isinstance(config, dict) and is_pplx(config)
    found = []
    for module in listed:
        package, _, kind = str(module.get("type", "")).rpartition(".")
        if pplx and package == _PPLX_PARTS:
            continue
        values = read_json(directory / str(module.get("path", "")) / "config.json")
        found.append((kind, values if isinstance(values, dict) else {}))
    return found


def _objection(module: tuple[str, dict[str, Any]], *, prompted: bool) -> str | None:
    kind, values = module
    if kind != "Pooling":
        return None
    if prompted and values.get("include_prompt") is False:
        return "has a prompt and pools without it (include_prompt)"
    modes = [
        key.removeprefix("pooling_mode_")
        for key, value in values.items()
        if key.startswith("pooling_mode_") and value is True
    ]
    told = values.get("pooling_mode")
    modes += [told] if isinstance(told, str) else []
    wrong = [mode for mode in modes if mode not in ("mean", "mean_tokens")]
    return f"pools by {', '.join(wrong)}" if wrong else None


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
