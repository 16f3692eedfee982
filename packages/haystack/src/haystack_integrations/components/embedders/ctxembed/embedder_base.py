# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""What the two embedders share: settings as parameters, and an embedder that opens on first use.

What is embedded, and what becomes of the vectors, is theirs.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

from haystack.utils import ComponentDevice, Secret

from ctxembed import ConfigurationError, Embedder, Settings, Usage
from ctxembed.lazy import KEY_VARIABLES, LazyEmbedder, SharedKeywords

KEY = Secret.from_env_var([*KEY_VARIABLES], strict=False)
"""The key of a remote API: the first of these variables that is set."""

Init = TypeVar("Init", bound=Callable[..., None])


def shows_settings(init: Init) -> Init:
    """Let a constructor that takes settings as keywords show each of them.

    Its signature, which Haystack reads too, gets a parameter for every setting, and its docstring
    what the setting does. Vectors have length 1 by default, because stores rank by dot product or
    L2 too.
    """
    signature = inspect.signature(init)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    settings = [each for each in fields(Settings) if each.name not in signature.parameters]
    shown = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=True if each.name == "normalize" else each.default,
            annotation=each.type,
        )
        for each in settings
    ]
    init.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
    documented = [f":param {each.name}: {each.metadata['text']}" for each in settings]
    init.__doc__ = "\n".join([inspect.cleandoc(init.__doc__ or ""), *documented])
    return init


class EmbedderBase:
    """Opens an embedder on `warm_up` or first use, from any thread or task, and closes it."""

    def _take(
        self,
        model: str,
        device: ComponentDevice | None,
        api_key: Secret | None,
        settings: SharedKeywords,
    ) -> None:
        """Keep what a constructor was given, or raise before anything is opened."""
        known = {each.name for each in fields(Settings)}
        if unknown := settings.keys() - known:
            raise TypeError(
                f"{type(self).__name__} has no parameter {', '.join(sorted(unknown))}."
            )
        _check_kind("api_key", api_key, Secret, 'Secret.from_env_var("THE_NAME")')
        _check_kind("device", device, ComponentDevice, 'ComponentDevice.from_str("cuda:0")')
        self.api_key = api_key
        self.device = device
        name = None if device is None else device.to_torch_str()
        normal: SharedKeywords = {"normalize": True}
        self.settings = Settings(model=model, device=name, **(normal | settings))
        if self.settings.encoding == "ubinary":
            raise ConfigurationError(
                'encoding="ubinary" packs eight dimensions into a byte, and Haystack stores '
                'floats. Hint: encoding="binary" with normalize=False.'
            )
        self._embedder = LazyEmbedder()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model out of a copy or a pickle, which opens it for itself."""
        return vars(self) | {"_embedder": LazyEmbedder()}

    def _given(self) -> dict[str, Any]:
        """Return the parameters that `_take` took, for `to_dict`."""
        return self.settings.to_dict() | {"device": self.device, "api_key": self.api_key}

    def _key(self) -> str | None:
        """Return the key for a remote API; nothing else ever sees it.

        Where the user names variables and none is set, no other key is used.
        """
        if self.settings.backend != "api" or self.api_key is None:
            return None
        key = self.api_key.resolve_value()
        if not key and self.api_key != KEY:
            names = ", ".join(self.api_key.to_dict().get("env_vars", []))
            raise ConfigurationError(f"api_key holds no key. Hint: set {names}.")
        return key

    def _open(self) -> Embedder:
        return self._embedder.get(self.settings, self._key)

    async def _aopen(self) -> Embedder:
        return await self._embedder.aget(self.settings, self._key)

    def warm_up(self) -> None:
        """Load the model, once; components that ask for the same weights share them."""
        self._open()

    async def warm_up_async(self) -> None:
        """Load the model, once, without blocking the event loop."""
        await self._aopen()

    def close(self) -> None:
        """Let go of the model; the next run opens it again."""
        self._embedder.close()

    async def close_async(self) -> None:
        """Let go of the model without blocking the event loop."""
        await self._embedder.aclose()


def _check_kind(name: str, value: object, kind: type, example: str) -> None:
    """Refuse another type without showing it: it may be a key, and would be serialised in clear."""
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(
            f"{name} is a {kind.__name__}, got {type(value).__name__}. Hint: {example}."
        )


def usage_since(before: Usage, after: Usage) -> dict[str, Any]:
    """Return what was used between two readings, by the names that Haystack's embedders use."""
    tokens = after.tokens - before.tokens
    usage: dict[str, Any] = {
        "prompt_tokens": tokens,
        "total_tokens": tokens,
        "requests": after.requests - before.requests,
        "cached_documents": after.cached_documents - before.cached_documents,
    }
    if after.cost is not None:
        usage["cost"] = after.cost - (before.cost or 0.0)
    return usage
