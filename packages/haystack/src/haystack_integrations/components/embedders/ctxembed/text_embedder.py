# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""`ContextualTextEmbedder`: the vector of a query, for documents embedded with their siblings."""

from typing import Any, Self

from haystack import component, default_from_dict, default_to_dict
from haystack.utils import ComponentDevice, Secret

from ctxembed import to_floats
from ctxembed.encoding import Array, Encoding
from ctxembed.settings import (
    DEFAULT_MODEL,
    BackendChoice,
    Dtype,
    EmptyChunks,
    LongChunks,
    Pooling,
)
from haystack_integrations.components.embedders.ctxembed.embedder_base import (
    KEY,
    OpensEmbedder,
    usage_since,
)


@component
class ContextualTextEmbedder(OpensEmbedder):
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

    def __init__(  # noqa: PLR0913 - a component's settings are its parameters, one by one
        self,
        model: str = DEFAULT_MODEL,
        *,
        backend: BackendChoice = "auto",
        api_key: Secret | None = KEY,
        revision: str | None = None,
        device: ComponentDevice | None = None,
        dtype: Dtype = "auto",
        dimensions: int | None = None,
        encoding: Encoding = "int8",
        normalize: bool = True,
        window_tokens: int | None = None,
        overlap_tokens: int | None = None,
        context_weight: float | None = None,
        long_chunks: LongChunks = "error",
        empty: EmptyChunks = "error",
        pooling: Pooling = "auto",
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        batch_tokens: int | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        concurrency: int | None = None,
        tokenizer: str | None = None,
        prefix: str = "",
        suffix: str = "",
    ) -> None:
        """Create the component; the model is loaded by `warm_up` or the first run.

        Settings that are about documents are here so that both embedders take the same ones.

        :param model: Hub id, directory, or a name that `ctxembed models` lists.
        :param backend: `"torch"`, `"onnx"` or `"api"`; `"auto"` takes what the model is stored in.
        :param api_key:
            Key of a remote API, read when the model is opened. Local backends never look at it.
        :param revision: Branch, tag or commit of a hub id.
        :param device: Where to compute; `None` takes the first GPU where there is one.
        :param dtype: `"auto"` is float32 on CPU and bfloat16 on CUDA.
        :param dimensions: Keep the first so many dimensions; `None` keeps all.
        :param encoding:
            `"int8"`, `"float"`, or `"binary"` (+1.0 and -1.0, with `normalize=False`).
        :param normalize:
            Scale vectors to length 1. Stores that rank by dot product or L2 need that.
        :param window_tokens:
            Tokens that go through the model together; `None` takes the model's own.
        :param overlap_tokens: Tokens that neighbouring windows of a long source share.
        :param context_weight:
            1 takes the contextual vector, 0 the independent one, between mixes them.
        :param long_chunks:
            A chunk beyond the model's limit is an `"error"`, or cut and `"pool"`ed.
        :param empty:
            A text without content is an `"error"`, or a `"zero"` vector that the model never sees.
        :param pooling: `"mean"` insists on mean pooling for a checkpoint that says otherwise.
        :param query_prefix: Put before every query; `None` takes the model's own.
        :param document_prefix: Put before every window of a source; `None` takes the model's own.
        :param batch_tokens:
            Tokens in one model call or request; `None` lets the backend choose.
        :param base_url:
            Where the API is; `None` takes `PERPLEXITY_BASE_URL`, or the vendor's. This and the next
            four are for `backend="api"` only.
        :param timeout: Seconds for one attempt of a request.
        :param max_retries: Attempts after the first one.
        :param concurrency: Requests under way at once, at the most.
        :param tokenizer:
            Folder with the model's `tokenizer.json`, to count tokens exactly over the API.
        :param prefix: Put before the text.
        :param suffix: Put after the text.
        :raises ConfigurationError:
            The settings name something unknown, or do not go together.
        """
        self._take(locals())
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
