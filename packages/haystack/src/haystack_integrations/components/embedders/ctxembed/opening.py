# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""What the two embedders share: settings, and an embedder that is opened once, on first use.

What is embedded, and what becomes of the vectors, is theirs.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import fields
from threading import Lock
from typing import Any

from haystack.utils import ComponentDevice, Secret

from ctxembed import ConfigurationError, Embedder, Settings, Usage

KEY_NAMES = ["PERPLEXITY_API_KEY", "PPLX_API_KEY", "PERPLEXITYAI_API_KEY"]
"""Variables that may hold the key, the first one that is set."""


class OpensEmbedder:
    """Opens an embedder on `warm_up` or first use, from any thread or task, and closes it."""

    def _take(self, given: Mapping[str, Any]) -> None:
        """Keep the settings among a constructor's parameters; their names are the same."""
        self.api_key: Secret | None = given["api_key"]
        self.device: ComponentDevice | None = given["device"]
        values = {
            field.name: given[field.name] for field in fields(Settings) if field.name in given
        }
        values["device"] = None if self.device is None else self.device.to_torch_str()
        self.settings = Settings(**values)
        if self.settings.encoding == "ubinary":
            message = (
                'encoding="ubinary" packs eight dimensions into a byte, and Haystack stores floats. '
                'Hint: encoding="binary" with normalize=False.'
            )
            raise ConfigurationError(message)
        self._embedder: Embedder | None = None
        self._lock = Lock()

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
        """Return the key for a remote API, where one is set; nothing else ever sees it."""
        remote = self.settings.backend == "api"
        return self.api_key.resolve_value() if self.api_key and remote else None

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
        if embedder := self._let_go():
            embedder.close()

    async def close_async(self) -> None:
        """Let go of the model without blocking the event loop."""
        if embedder := self._let_go():
            await embedder.aclose()

    def _let_go(self) -> Embedder | None:
        with self._lock:
            embedder, self._embedder = self._embedder, None
        return embedder


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
