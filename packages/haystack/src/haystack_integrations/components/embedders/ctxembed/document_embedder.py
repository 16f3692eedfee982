# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""`ContextualDocumentEmbedder`: documents in, the same documents with contextual vectors out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import ComponentDevice, Secret
from tqdm.auto import tqdm

from ctxembed import ConfigurationError, EmbedError, to_floats
from ctxembed.encoding import Array, Encoding
from ctxembed.errors import located_errors
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
from haystack_integrations.components.embedders.ctxembed.log_messages import (
    failure,
    report_failed,
    report_grouping,
)
from haystack_integrations.components.embedders.ctxembed.siblings import (
    MissingGroup,
    Siblings,
    check_documents,
    check_grouping,
    group_siblings,
    refuse_errors,
    text_of,
)

Outcomes = Sequence[Array | EmbedError]
"""One array, or one error, per source."""


@component
class ContextualDocumentEmbedder(OpensEmbedder):
    """Embeds the chunks of a source together, so that each vector knows the rest of its source.

    Documents with the same `meta[source_key]` are one source, in the order of `meta[order_key]`:
    what Haystack's splitters set. Give all chunks of a source in one call, in any order.

    ### Usage example

    ```python
    from haystack import Document
    from haystack_integrations.components.embedders.ctxembed import ContextualDocumentEmbedder

    chunks = [
        Document(content="The king fell ill.", meta={"source_id": "tale", "split_id": 0}),
        Document(content="He sent for his sons.", meta={"source_id": "tale", "split_id": 1}),
    ]
    embedder = ContextualDocumentEmbedder(model="minilm")
    documents = embedder.run(chunks)["documents"]
    print(len(documents[1].embedding))

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
        source_key: str = "source_id",
        order_key: str | None = "split_id",
        missing_group: MissingGroup = "single",
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        meta_once: bool = False,
        prefix: str = "",
        suffix: str = "",
        progress_bar: bool = True,
        raise_on_failure: bool = True,
    ) -> None:
        """Create the component; the model is loaded by `warm_up` or the first run.

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
        :param source_key: The meta field that names the source of a chunk.
        :param order_key:
            The meta field that counts the chunks of a source from 0; `None` takes them as they
            come.
        :param missing_group:
            A document without a source stands alone (`"single"`) or is an `"error"`.
        :param meta_fields_to_embed: Meta fields to embed before the content.
        :param embedding_separator: Put between the meta fields and the content.
        :param meta_once:
            Put the meta fields before the first chunk of a source only, where its siblings see
            them.
        :param prefix: Put before every text.
        :param suffix: Put after every text.
        :param progress_bar: Show the progress of a run.
        :param raise_on_failure:
            Raise what keeps a source from being embedded. If `False`, its documents come back
            without an embedding and are listed in `meta["failed"]`.
        :raises ConfigurationError:
            The settings name something unknown, or do not go together.
        """
        self._take(locals())
        check_grouping(source_key, order_key, missing_group)
        if isinstance(meta_fields_to_embed, str):
            raise ConfigurationError("meta_fields_to_embed is a list of names, got one string.")
        self.source_key = source_key
        self.order_key = order_key
        self.missing_group = missing_group
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator
        self.meta_once = meta_once
        self.prefix = prefix
        self.suffix = suffix
        self.progress_bar = progress_bar
        self.raise_on_failure = raise_on_failure

    def to_dict(self) -> dict[str, Any]:
        """Serialize the component to a dictionary.

        :returns:
            Dictionary with every parameter; keys of an API by the names of their variables only.
        """
        return default_to_dict(
            self,
            **self._given(),
            source_key=self.source_key,
            order_key=self.order_key,
            missing_group=self.missing_group,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
            meta_once=self.meta_once,
            prefix=self.prefix,
            suffix=self.suffix,
            progress_bar=self.progress_bar,
            raise_on_failure=self.raise_on_failure,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Deserialize the component from a dictionary.

        :param data: Dictionary that `to_dict` gave.
        :returns: The component.
        """
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Embed documents, each with the others of its source.

        :param documents: Documents, in any order; all chunks of a source in one call.
        :returns:
            A dictionary with the following keys:
            - `documents`: New documents with embeddings, in the order of the input.
            - `meta`: `model`; `usage`, which counts runs of this component that overlap together;
              and `failed`, where `raise_on_failure` is off.
        :raises InputError: Documents that cannot be embedded as they are; `.key` is the source.
        :raises BackendError: The model gave no vectors.
        """
        groups, chunks = self._plan(documents)
        embedder = self._open()
        before = embedder.usage
        with located_errors(lambda number: (number, groups[number].source), "source"):
            if self.raise_on_failure:
                outcomes: Outcomes = embedder.embed_documents(chunks, progress=self.progress_bar)
            else:
                stream = embedder.stream(chunks, errors="return")
                outcomes = [*tqdm(stream, total=len(chunks), disable=not self.progress_bar)]
        return self._result(documents, groups, outcomes, usage_since(before, embedder.usage))

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Like `run`, without blocking the event loop.

        :param documents: Documents, in any order; all chunks of a source in one call.
        :returns: What `run` returns.
        """
        groups, chunks = self._plan(documents)
        embedder = await self._aopen()
        before = embedder.usage
        with located_errors(lambda number: (number, groups[number].source), "source"):
            if self.raise_on_failure:
                outcomes: Outcomes = await embedder.aembed_documents(
                    chunks, progress=self.progress_bar
                )
            else:
                stream = embedder.astream(chunks, errors="return")
                bar = tqdm(stream, total=len(chunks), disable=not self.progress_bar)
                outcomes = [outcome async for outcome in bar]
        return self._result(documents, groups, outcomes, usage_since(before, embedder.usage))

    def _plan(self, documents: list[Document]) -> tuple[list[Siblings], list[Any]]:
        """Return siblings, and the chunks of each: its error in their place where it has one."""
        check_documents(documents, type(self).__name__)
        groups = group_siblings(
            documents,
            source_key=self.source_key,
            order_key=self.order_key,
            missing_group=self.missing_group,
        )
        if self.raise_on_failure:
            refuse_errors(groups)
        report_grouping(groups, documents, self.source_key)
        return groups, [each.error or self._texts(each, documents) for each in groups]

    def _texts(self, siblings: Siblings, documents: Sequence[Document]) -> list[str]:
        """Return the chunks of one source, in order."""
        texts = []
        for number, position in enumerate(siblings.positions):
            fields = [] if number and self.meta_once else self.meta_fields_to_embed
            texts.append(
                text_of(
                    documents[position], fields, self.embedding_separator, self.prefix, self.suffix
                )
            )
        return texts

    def _result(
        self,
        documents: Sequence[Document],
        groups: Sequence[Siblings],
        outcomes: Outcomes,
        usage: dict[str, Any],
    ) -> dict[str, Any]:
        rows: dict[int, list[float]] = {}
        failed = []
        for siblings, outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, EmbedError):
                failed.append(failure(siblings, outcome, documents))
            else:
                rows.update(zip(siblings.positions, to_floats(outcome), strict=True))
        report_failed(failed, len(groups))
        meta: dict[str, Any] = {"model": self.settings.model, "usage": usage}
        if not self.raise_on_failure:
            meta["failed"] = failed
        new = [replace(document, embedding=rows.get(n)) for n, document in enumerate(documents)]
        return {"documents": new, "meta": meta}
