"""What sentence-transformers' files say of a checkpoint: its parts, how it pools, its prompts.

What they say is followed here, or by the tokenizer, or it is a refusal that names file and key.
`docs/backends.md` has a table of all of it.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ctxembed.backends.config import is_pplx, read_json
from ctxembed.checkpoint import transformer_file
from ctxembed.errors import ConfigurationError, ModelLoadError
from ctxembed.models import ModelSpec
from ctxembed.settings import Settings

_ABOUT = "config_sentence_transformers.json"
_INSIST = 'or insist with pooling="mean"'

# Parts of a sentence-transformers model that the mean of tokens, and codes of it, stand for.
_PARTS = frozenset(("Transformer", "Pooling", "Normalize"))
_PACKAGES = frozenset(("", "sentence_transformers"))
_PPLX_PARTS = "st_quantize"

_ROLES = {"query": ("query",), "document": ("document", "passage")}

# What the file of the part "Transformer" may say without changing a vector. Nothing is ever cut, so
# that a longest sequence is none of it; how numbers are stored is the settings' business.
_HARMLESS = frozenset(
    ("max_seq_length", "do_lower_case", "unpad_inputs", "query_length", "document_length")
)
_USUAL = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}
_HARMLESS_ARGUMENTS = frozenset(("attn_implementation", "dtype", "torch_dtype"))


def check_parts(directory: Path, config: Mapping[str, Any], settings: Settings) -> None:
    """Refuse a checkpoint whose vectors aren't means of tokens, unless `pooling` is "mean".

    Sentence-transformers checkpoints say how they pool; where nothing is said, it is by mean. Any
    part but the model, its pooling and its norm is refused in any case: nothing here would apply
    it.

    Raises:
        ConfigurationError: gives the reason and the way round it.
        ModelLoadError: a file is not what it should be, or missing.
    """
    modules = _modules(directory, config)
    _check_transformer(directory)
    about = _about(directory)
    _check_prompts(directory, about, settings)
    if settings.pooling == "mean":
        return
    kind = about.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise ConfigurationError(
            f"{directory}: {_ABOUT} says {kind} under model_type, which is no embedding model. "
            f"Hint: take one that is, {_INSIST}."
        )
    prompts = _prompts(about)
    prompted = any(prompts.get(name) for names in _ROLES.values() for name in names)
    reasons = [_objection(values, prompted=prompted) for values in _poolings(directory, modules)]
    if not reasons:
        reasons = ["names no Pooling in modules.json"]
    reason = next((why for why in reasons if why), None)
    if reason is not None:
        raise ConfigurationError(
            f"{directory} {reason}: means over a chunk's tokens are not what it was trained for. "
            f"Hint: take a mean-pooled model, {_INSIST}."
        )


def with_prompts(spec: ModelSpec, directory: Path) -> ModelSpec:
    """Return the record with the prefixes that a sentence-transformers checkpoint was trained with.

    `config_sentence_transformers.json` names prompts; "query" is the query's, "document" or
    "passage" the document's.
    """
    texts = _prompts(_about(directory))
    if not texts:
        return spec
    return replace(
        spec,
        query_prefix=texts.get("query", ""),
        document_prefix=texts.get("document", texts.get("passage", "")),
    )


def _about(directory: Path) -> dict[str, Any]:
    values = read_json(directory / _ABOUT)
    return values if isinstance(values, dict) else {}


def _prompts(about: Mapping[str, Any]) -> dict[str, str]:
    prompts = about.get("prompts")
    if not isinstance(prompts, dict):
        return {}
    return {name: text for name, text in prompts.items() if isinstance(text, str)}


def _check_prompts(directory: Path, about: Mapping[str, Any], settings: Settings) -> None:
    """Refuse a default prompt where it could be meant for a role that has no prompt of its own."""
    prompts, default = _prompts(about), about.get("default_prompt_name")
    if not isinstance(default, str) or not prompts.get(default):
        return
    own = {"query": settings.query_prefix, "document": settings.document_prefix}
    for role, names in _ROLES.items():
        if own[role] is None and prompts.keys().isdisjoint(names):
            raise ConfigurationError(
                f"{directory}: {_ABOUT} has the default_prompt_name {default!r} and no prompt "
                f"named {role!r}, so that none or the default could be meant. Hint: give "
                f'{role}_prefix="..." yourself, or "" for none.'
            )


def _modules(directory: Path, config: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """Return the kind and the folder of each part of a sentence-transformers model, checked.

    That which makes codes of a pplx model's vectors is left out: codes are made here too.
    """
    path = directory / "modules.json"
    listed = read_json(path)
    if listed is None:
        return [("Pooling", directory / "1_Pooling")]
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise ModelLoadError(
            f"{path} is not a list of a model's parts. Hint: fetch the file again."
        )
    found = []
    for module in listed:
        package, _, kind = str(module.get("type", "")).rpartition(".")
        if is_pplx(config) and package == _PPLX_PARTS:
            continue
        if kind not in _PARTS or package.partition(".")[0] not in _PACKAGES:
            raise ConfigurationError(
                f"{directory} has another layer ({kind}) beside the model and its pooling, which "
                "no backend here applies. Hint: take a model without."
            )
        folder = PurePosixPath(str(module.get("path", "")))
        if folder.is_absolute() or ".." in folder.parts:
            raise ModelLoadError(
                f"{path} names {str(folder)!r} for its {kind}, which lies outside the directory. "
                "Hint: fetch the file again."
            )
        if kind == "Transformer" and folder.parts:
            raise ModelLoadError(
                f"{path} has its model in {str(folder)!r}, and only one beside modules.json is "
                'read. Hint: move the files of that folder up, and set its path to "".'
            )
        found.append((kind, directory / folder))
    return found


def _poolings(directory: Path, modules: list[tuple[str, Path]]) -> list[dict[str, Any]]:
    """Return what each pooling's own file says; where no list names one, it may be absent."""
    found = []
    for kind, folder in modules:
        if kind != "Pooling":
            continue
        values = read_json(folder / "config.json")
        if values is None and not (directory / "modules.json").is_file():
            values = {}
        if not isinstance(values, dict):
            raise ModelLoadError(
                f"{directory}: modules.json has a Pooling in {folder.name!r}, and its config.json "
                f"is not there or no object. Hint: fetch that folder too, {_INSIST}."
            )
        found.append(values)
    return found


def _objection(values: Mapping[str, Any], *, prompted: bool) -> str | None:
    """Return why a pooling is not the mean over all tokens, None where it is."""
    if prompted and not values.get("include_prompt", True):
        return "has a prompt and pools without it (include_prompt)"
    modes = [
        key.removeprefix("pooling_mode_")
        for key, value in values.items()
        if key.startswith("pooling_mode_") and value
    ]
    told = values.get("pooling_mode", "mean")
    modes += told if isinstance(told, list) else [told]
    wrong = [str(mode) for mode in modes if mode not in ("mean", "mean_tokens")]
    if isinstance(told, list) and len(told) != 1:
        return f"pools by {len(told)} modes ({', '.join(map(str, told))})"
    return f"pools by {', '.join(wrong)}" if wrong else None


def _check_transformer(directory: Path) -> None:
    """Refuse what the file of the part "Transformer" says beyond the usual."""
    name, values = transformer_file(directory)
    for key, value in values.items():
        if key in _HARMLESS or value in (None, {}, _USUAL.get(key)):
            continue
        if key.endswith(("_args", "_kwargs")) and isinstance(value, dict):
            unread = sorted(value.keys() - _HARMLESS_ARGUMENTS)
        elif key == "modality_config" and isinstance(value, dict):
            usual = {"method": "forward", "method_output_name": "last_hidden_state"}
            unread = [] if value.get("text") == usual else ["text"]
        else:
            unread = [str(value)]
        if unread:
            raise ConfigurationError(
                f"{directory}: {name} says {', '.join(unread)} under {key}, which nothing here "
                "follows. Hint: take a model without, or take the key out if it changes nothing."
            )
