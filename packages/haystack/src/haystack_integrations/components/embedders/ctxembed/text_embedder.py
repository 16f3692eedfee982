# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""`ContextualTextEmbedder`: the vector of a query, for documents embedded with their siblings."""

from typing import Any, Self, Unpack

from haystack import component, default_from_dict, default_to_dict
from haystack.utils import ComponentDevice, Secret

from ctxembed import DEFAULT_MODEL, Array, to_floats
from ctxembed.lazy import SharedKeywords
from haystack_integrations.components.embedders.ctxembed.embedder_base import (
    KEY,
    EmbedderBase,
    shows_settings,
    usage_since,
)


@component
class ContextualTextEmbedder(EmbedderBase):
    """Embeds a query, alone, for documents that `ContextualDocumentEmbedder` embedded.

    Give both the same settings. In one process they share one set of weights.

    ### Usage example

    ```python
    from haystack_integrations.components.embedders.ctxembed import ContextualTextEmbedder

    embedder = ContextualTextEmbedder(model="minilm")
    print(len(embedder.run("Who sent for the sons?")["embedding"]))

    # 384
    ```
    """

    @shows_settings
    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        api_key: Secret | None = KEY,
        device: ComponentDevice | None = None,
        prefix: str = "",
        suffix: str = "",
        **settings: Unpack[SharedKeywords],
    ) -> None:
        """Create the component; the model is loaded by `warm_up` or the first run.

        Settings that are about documents are taken too, so that both embedders take the same ones.

        :param model: Hub id, directory, or a name that `ctxembed models` lists.
        :param api_key:
            Key of a remote API, read when the model is opened. Local backends never look at it.
        :param device: Where to compute; `None` takes the first GPU where there is one.
        :param prefix: Put before the text.
        :param suffix: Put after the text.
        :param settings:
            The other fields of `ctxembed.Settings`, by name. `normalize` is `True` by default, and
            `encoding="ubinary"` is refused, because Haystack stores floats.
        :raises ConfigurationError: The settings have an unknown value, or do not go together.
        """
        self._take(model, device, api_key, settings)
        self.prefix = prefix
        self.suffix = suffix

    def to_dict(self) -> dict[str, Any]:
        """Serialize the component to a dictionary.

        :returns:
            Dictionary with every parameter; keys of an API by the names of their variables only.
        """
        return default_to_dict(self, **self._given(), prefix=self.prefix, suffix=self.suffix)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Deserialize the component from a dictionary.

        :param data: Dictionary that `to_dict` gave.
        :returns: The component.
        """
        return default_from_dict(cls, data)

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """Embed a query.

        :param text: The query.
        :returns:
            A dictionary with the following keys:
            - `embedding`: The vector of the query.
            - `meta`: `model` and `usage`.
        :raises InputError: A query without text.
        :raises BackendError: The model gave no vector.
        """
        wrapped = self._wrapped(text)
        embedder = self._open()
        before = embedder.usage
        row = embedder.embed_query(wrapped)
        return self._result(row, usage_since(before, embedder.usage))

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """Like `run`, without blocking the event loop.

        :param text: The query.
        :returns: What `run` returns.
        """
        wrapped = self._wrapped(text)
        embedder = await self._aopen()
        before = embedder.usage
        row = await embedder.aembed_query(wrapped)
        return self._result(row, usage_since(before, embedder.usage))

    def _wrapped(self, text: str) -> str:
        if not isinstance(text, str):
            raise TypeError(
                f"{type(self).__name__} expects a string, got {type(text).__name__}. "
                "Documents go to ContextualDocumentEmbedder."
            )
        return self.prefix + text + self.suffix if text.strip() else text

    def _result(self, row: Array, usage: dict[str, Any]) -> dict[str, Any]:
        (embedding,) = to_floats(row[None])
        return {"embedding": embedding, "meta": {"model": self.settings.model, "usage": usage}}
