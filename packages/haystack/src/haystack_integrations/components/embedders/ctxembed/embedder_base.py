# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""What the two embedders share: settings, and an embedder that is opened once, on first use.

What is embedded, and what becomes of the vectors, is theirs.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from haystack.utils import ComponentDevice, Secret

from ctxembed import ConfigurationError, Embedder, Settings, Usage
from ctxembed.forks import ForkLock

KEY = Secret.from_env_var(
    ["PERPLEXITY_API_KEY", "PPLX_API_KEY", "PERPLEXITYAI_API_KEY"], strict=False
)
"""The key of a remote API: the first of these variables that is set."""


class OpensEmbedder:
    """Opens an embedder on `warm_up` or first use, from any thread or task, and closes it."""

    def _take(self, given: Mapping[str, Any]) -> None:
        """Keep the settings among a constructor's parameters; their names are the same."""
        self.api_key: Secret | None = given["api_key"]
        self.device: ComponentDevice | None = given["device"]
        _check_kind("api_key", self.api_key, Secret, 'Secret.from_env_var("THE_NAME")')
        _check_kind("device", self.device, ComponentDevice, 'ComponentDevice.from_str("cuda:0")')
        values = {
            field.name: given[field.name] for field in fields(Settings) if field.name in given
        }
        values["device"] = None if self.device is None else self.device.to_torch_str()
        self.settings = Settings(**values)
        if self.settings.encoding == "ubinary":
            message = (
                'encoding="ubinary" packs eight dimensions into a byte, and Haystack stores '
                'floats. Hint: encoding="binary" with normalize=False.'
            )
            raise ConfigurationError(message)
        self._embedder: Embedder | None = None
        self._lock = ForkLock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model out of a copy or a pickle, which opens it for itself."""
        return vars(self) | {"_embedder": None, "_lock": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Take a state, with a lock of its own."""
        vars(self).update(state, _lock=ForkLock())

    def _given(self) -> dict[str, Any]:
        """Return the parameters that `_take` took, for `to_dict`."""
        return self.settings.to_dict() | {"device": self.device, "api_key": self.api_key}

    def _open(self) -> Embedder:
        with self._lock:
            embedder = self._embedder
            if embedder is None:
                embedder = Embedder.open(self.settings, api_key=self._key())
                self._embedder = embedder
            return embedder

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

    async def _aopen(self) -> Embedder:
        embedder = self._embedder
        if embedder is None:
            embedder = await asyncio.to_thread(self._open)
        return embedder

    def warm_up(self) -> None:
        """Load the model, once; components that ask for the same weights share them."""
        self._open()

    async def warm_up_async(self) -> None:
        """Load the model, once, without blocking the event loop."""
        await self._aopen()

    def close(self) -> None:
        """Let go of the model; the next run opens it again."""
        with self._lock:
            embedder, self._embedder = self._embedder, None
        if embedder is not None:
            embedder.close()

    async def close_async(self) -> None:
        """Let go of the model without blocking the event loop."""
        await asyncio.to_thread(self.close)


def _check_kind(name: str, value: object, kind: type, example: str) -> None:
    """Refuse another type without showing it: it may be a key, and would be serialised in clear."""
    if value is not None and not isinstance(value, kind):
        message = f"{name} is a {kind.__name__}, got {type(value).__name__}. Hint: {example}."
        raise ConfigurationError(message)


def usage_since(before: Usage, after: Usage) -> dict[str, Any]:
    """Return what was used between two readings, under the names that Haystack's embedders use."""
    tokens = after.tokens - before.tokens
    usage: dict[str, Any] = {
        "prompt_tokens": tokens,
        "total_tokens": tokens,
        "requests": after.requests - before.requests,
    }
    if after.cost is not None:
        usage["cost"] = after.cost - (before.cost or 0.0)
    return usage
