"""Where a model's files are: a directory as it is, or fetched from the Hugging Face hub."""

from collections.abc import Sequence
from pathlib import Path

from ctxembed.errors import MissingDependencyError, ModelLoadError
from ctxembed.settings import Settings, known_models, meant


def find_directory(settings: Settings, files: Sequence[str]) -> Path:
    """Return the directory that holds the model, fetching `files` where a hub id is named.

    Raises:
        MissingDependencyError: a hub id, and the library that fetches isn't installed.
        ModelLoadError: there is no such directory and no such id, or the hub can't be reached.
    """
    path = Path(settings.model)
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelLoadError(f"{path} is a file. Hint: pass the directory that it lies in.")
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
        raise ModelLoadError(
            f"{settings.model!r} is no directory here and could not be fetched from the Hugging "
            f"Face hub ({type(error).__name__}).{meant(settings)} Hint: check the name (in the table: "
            f"{known_models()}), or download it and pass the directory."
        ) from error
