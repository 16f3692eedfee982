"""The option `--backend` of commands that run a model on this machine."""

from dataclasses import replace
from typing import Annotated, cast

import typer

from ctxembed.errors import ConfigurationError
from ctxembed.settings import BackendChoice, Settings

LocalBackend = Annotated[
    str,
    typer.Option(
        rich_help_panel="Model",
        metavar="<choice>",
        help="What runs the model; auto goes by the kind of weights. Choices: auto, torch, onnx.",
    ),
]


def with_backend(settings: Settings, backend: str, *, refusal: str) -> Settings:
    """Return the settings with this backend; `refusal` says why it cannot be the API."""
    if backend == "api":
        raise ConfigurationError(f"{refusal} Hint: leave --backend out.")
    # Settings refuses other values with a hint of its own
    return replace(settings, backend=cast(BackendChoice, backend))
