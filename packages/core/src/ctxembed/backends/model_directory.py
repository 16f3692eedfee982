"""A model's directory: found or fetched from the hub, and opened alike by both local backends.

The files are read in `config` and `tokenizer`; weights and graphs are left to the backends.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctxembed.backends.config import check_embeds, read_config, spec_from_config
from ctxembed.backends.sentence_transformers_files import check_parts, with_prompts
from ctxembed.backends.tokenizer import ChunkTokenizer
from ctxembed.backends.tokenizer_files import load_tokenizer
from ctxembed.errors import MissingDependencyError, ModelLoadError
from ctxembed.models import ModelSpec, known_models
from ctxembed.settings import Settings, meant

_HUB_PARTS = 2
"""The most parts of a hub id: `owner/name`."""


def open_directory(settings: Settings, files: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """Return the model's directory and its `config.json`, fetching `files` of a hub id.

    Raises:
        ConfigurationError: the checkpoint is not pooled by mean, or is no embedder.
        MissingDependencyError: a hub id, and `huggingface_hub` is not installed.
        ModelLoadError: there is no such directory and no such id, or no readable `config.json`.
    """
    directory = _find(settings, files)
    config = read_config(directory)
    check_parts(directory, config, settings)
    if settings.pooling != "mean":
        check_embeds(directory, config)
    return directory, config


def open_tokenizer(directory: Path, config: Mapping[str, Any]) -> tuple[ChunkTokenizer, int]:
    """Return the tokenizer, and how many tokens the longest window has, special ones not counted.

    Raises:
        ModelLoadError: the tokenizer or the hidden size is absent or unusable.
    """
    name = str(directory)
    tokenizer = load_tokenizer(directory, spec_from_config(config, name, 0).separator)
    rows = config.get("vocab_size")
    if isinstance(rows, int) and tokenizer.highest() >= rows:
        known = max(tokenizer.tokenizer.get_vocab().values()) + 1
        raise ModelLoadError(
            f"{directory}: the tokenizer knows {known} tokens and the model {rows}. "
            "Hint: fetch both from one place."
        )
    return tokenizer, spec_from_config(config, name, tokenizer.specials).max_tokens


def directory_spec(
    settings: Settings, directory: Path, config: Mapping[str, Any], specials: int
) -> ModelSpec:
    """Return the record of a known model, else that of the checkpoint itself, with its prompts.

    Raises:
        ModelLoadError: the checkpoint's dimensions are not those of the known model.
    """
    spec = with_prompts(spec_from_config(config, settings.model, specials), directory)
    if settings.spec is None:
        return spec
    if spec.dimensions != settings.spec.dimensions:
        raise ModelLoadError(
            f"{settings.model} should be {settings.spec.dimensions} wide and is {spec.dimensions}."
        )
    return settings.spec


def _find(settings: Settings, files: Sequence[str]) -> Path:
    path = Path(settings.model)
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelLoadError(f"{path} is a file. Hint: pass the directory that it lies in.")
    if path.is_absolute() or settings.model.startswith((".", "~")) or len(path.parts) > _HUB_PARTS:
        raise ModelLoadError(
            f"there is no directory {settings.model!r}. Hint: check the path; ~ is not expanded."
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError(
            f"{settings.model!r} is no directory here, and fetching it needs huggingface_hub. "
            "Hint: download it and pass the directory, or run: "
            "python -m pip install huggingface_hub"
        ) from error
    name = settings.model if settings.spec is None else settings.spec.name
    try:
        return Path(snapshot_download(name, revision=settings.revision, allow_patterns=[*files]))
    except Exception as error:  # network, permissions, disk, names: the hub has no common base
        if settings.spec is None:
            check = f"check the name (known ones are {known_models()})"
        else:
            check = "check the network and HF_HUB_OFFLINE"
        raise ModelLoadError(
            f"{settings.model!r} is no directory here and could not be fetched from the Hugging "
            f"Face hub ({type(error).__name__}).{meant(settings)} Hint: {check}, or download it "
            'and pass the directory. model="minilm" needs no download.'
        ) from error
