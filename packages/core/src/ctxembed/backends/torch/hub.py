"""Where a checkpoint's files are: a directory as it is, or fetched from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from ctxembed.errors import ModelLoadError
from ctxembed.settings import Settings, known_models, meant

_FILES = [
    "config.json",
    "config_sentence_transformers.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "modules.json",
    "*_Pooling/config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
]


def find_checkpoint(settings: Settings) -> Path:
    """Return the directory that holds the checkpoint, fetching it where a hub id is named.

    Raises:
        ModelLoadError: there is no such directory and no such id, or the hub can't be reached.
    """
    directory = Path(settings.model)
    if directory.is_dir():
        return directory
    name = settings.model if settings.spec is None else settings.spec.name
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, revision=settings.revision, allow_patterns=_FILES))
    except Exception as error:  # network, permissions, disk, names: the hub has no common base
        message = (
            f"{settings.model!r} is no directory here and could not be fetched from the Hugging "
            f"Face hub ({type(error).__name__}).{meant(settings)} Hint: check the name (in the table: "
            f"{known_models()}), or download it and pass the directory."
        )
        raise ModelLoadError(message) from error
