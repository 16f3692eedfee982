"""The `Backend` protocol, and the one door through which backends are opened by name.

A backend turns a batch of windows into rows. Which windows, in which order, and what becomes of the
rows is the embedder's business. Heavy libraries are imported in the modules behind the door only.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Protocol, cast, runtime_checkable

from ctxembed.batches import Batch, Limits
from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import Array, Form
from ctxembed.errors import ConfigurationError, MissingDependencyError
from ctxembed.models import ModelSpec, known_models
from ctxembed.settings import EMBEDDED_MODEL, BackendName, Settings, meant

STOPPED: ContextVar[Event | None] = ContextVar("ctxembed_stopped", default=None)
"""Set where a sync call runs in threads: once the event is set, nobody waits for their results."""


@runtime_checkable
class Backend(Protocol):
    """Turns a batch into one array per window, rows in chunk order.

    `embed` may be called from several threads at once, `limits.concurrency` of them by one
    embedder. Rows are float32 before the quantiser in form "pooled", int8 codes in "int8", int8 +1
    and -1 in "binary"; a row depends on its own window and on nothing else in the batch. What isn't
    finite is a `ResponseError`, never a row. Only errors of `ctxembed.errors` leave a backend. A
    backend whose vectors may be cached has an `identity` too, a `ModelIdentity`.
    """

    @property
    def spec(self) -> ModelSpec:
        """The model's facts, as read from its own files where it has any."""

    @property
    def limits(self) -> Limits:
        """What one batch may carry."""

    @property
    def forms(self) -> frozenset[Form]:
        """The forms that `embed` can give."""

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        """Return each chunk with its token count; text like a special token is ordinary text."""

    def embed(self, batch: Batch) -> list[Array]:
        """Return one (chunks, dimensions) array per window, in the batch's form."""

    async def aembed(self, batch: Batch) -> list[Array]:
        """Like `embed`, without blocking the event loop."""

    def close(self) -> None:
        """Let go of weights and connections; a second call does nothing."""


_MODULES = {
    "torch": "ctxembed.backends.torch",
    "onnx": "ctxembed.backends.onnx",
    "api": "ctxembed.backends.api",
}


_INSTEAD = {
    "torch": (
        'Without torch there is model="minilm" (--model minilm), which the extra "demo" brings; '
        f"the models known by name are {known_models()}. On a machine without a GPU a CPU build of "
        "torch should be installed first. "
    )
}


def open_backend(settings: Settings, api_key: str | None = None) -> Backend:
    """Return the backend that the settings name; its libraries are imported only here."""
    name = settings.resolve_backend()
    _check(settings, name)
    if api_key is not None and name != "api":
        raise ConfigurationError(
            f'an api_key is for backend="api", and these settings open {name}.'
        )
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "ctxembed":
            raise
        question = meant(settings)
        unknown = f"{settings.model!r} is no directory and no known model.{question} Else "
        raise MissingDependencyError(
            f"{unknown if question else ''}the {name} backend needs {error.name}, which isn't "
            f"installed. {_INSTEAD.get(name, '')}"
            f'Run: python -m pip install "ctxembed[{name}]"'
        ) from error
    if name == "api":
        return cast(Backend, module.load(settings, api_key))
    return cast(Backend, module.load(settings))


def _check(settings: Settings, name: BackendName) -> None:
    """Refuse settings that the backend would leave unread."""
    unread = "local" if name == "api" else "api"
    for each in fields(settings):
        if each.metadata["only"] == unread and getattr(settings, each.name) != each.default:
            raise ConfigurationError(
                f"{each.name} means nothing to the {name} backend. Hint: leave it out."
            )
    embedded = settings.spec is not None and settings.spec.name == EMBEDDED_MODEL
    if settings.revision is not None and (embedded or Path(settings.model).is_dir()):
        raise ConfigurationError(
            f"revision belongs to a hub id, and {settings.model!r} is none. Hint: leave it out."
        )
