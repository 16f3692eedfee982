# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""`ContextualDocumentEmbedder`: documents in, the same documents with contextual vectors out."""

from collections.abc import Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Self, Unpack

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.utils import ComponentDevice, Secret

from ctxembed import DEFAULT_MODEL, Array, ConfigurationError, EmbedError, InputError, to_floats
from ctxembed.lazy import SharedKeywords, located_errors, progress_bar
from haystack_integrations.components.embedders.ctxembed.embedder_base import (
    KEY,
    EmbedderBase,
    shows_settings,
    usage_since,
)
from haystack_integrations.components.embedders.ctxembed.log_messages import (
    failure,
    report_blank,
    report_failed,
    report_gaps,
    report_unnamed,
    unnamed,
)
from haystack_integrations.components.embedders.ctxembed.siblings import (
    BareNames,
    Grouping,
    MissingGroup,
    check_documents,
    group_siblings,
    refuse_errors,
    with_text_source,
    without_copies,
)
from haystack_integrations.components.embedders.ctxembed.source_chunks import (
    SourceChunks,
    TextTemplate,
    chunks_located,
    chunks_of,
    with_rows,
)

Outcomes = Sequence[Array | EmbedError]
"""One array, or one error about the input, per source."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A call: its documents without copies, where each given one is among them, and its sources.

    `texts` has what is embedded of each source, or its error.
    """

    documents: list[Document]
    places: list[int]
    sources: list[SourceChunks]
    texts: list[Any]


@component
class ContextualDocumentEmbedder(EmbedderBase):
    """Embeds the chunks of a source together, so that each vector knows the rest of its source.

    Documents with the same `meta[source_key]` are one source, in the order of `meta[order_key]`:
    what Haystack's splitters set. Give all chunks of a source in one call, in any order.

    Documents without text (empty, white space, NUL only) come back without an embedding, unless
    `empty="zero"`. Each gets in its meta what `ContextualDocumentWriter` needs: by which fields
    sources were known, and `context_size`, the number of chunks of its source.

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

    @shows_settings
    def __init__(  # noqa: PLR0913 - a component's settings are its parameters, one by one
        self,
        model: str = DEFAULT_MODEL,
        *,
        api_key: Secret | None = KEY,
        device: ComponentDevice | None = None,
        source_key: str = "source_id",
        order_key: str | None = "split_id",
        missing_group: MissingGroup = "single",
        bare_names: BareNames = "error",
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        meta_once: bool = False,
        prefix: str = "",
        suffix: str = "",
        progress_bar: bool = True,
        raise_on_failure: bool = True,
        **settings: Unpack[SharedKeywords],
    ) -> None:
        """Create the component; the model is loaded by `warm_up` or the first run.

        :param model: Hub id, directory, or a name that `ctxembed models` lists.
        :param api_key:
            Key of a remote API, read when the model is opened. Local backends never look at it.
        :param device: Where to compute; `None` takes the first GPU where there is one.
        :param source_key: The meta field that names the source of a chunk.
        :param order_key:
            The meta field that counts the chunks of a source from 0; `None` takes them as they
            come.
        :param missing_group:
            A document without a source stands alone (`"single"`) or is an `"error"`.
        :param bare_names:
            With `source_key="file_path"`, a file name without a folder is an `"error"`: two files
            of one name would be one source. `"allow"` takes it.
        :param meta_fields_to_embed: Meta fields to embed before the content.
        :param embedding_separator: Put between the meta fields and the content.
        :param meta_once:
            Put the meta fields before the first chunk of a source only, where its siblings see
            them.
        :param prefix: Put before every text.
        :param suffix: Put after every text.
        :param progress_bar:
            Show a bar of a run: sources, chunks, tokens per second and an estimate of the time
            left.
        :param raise_on_failure:
            Raise an `InputError` where a source cannot be embedded as it is, for instance because
            a chunk is too long. If `False`, its documents come back without an embedding and are
            listed in `meta["failed"]`. What is wrong with a model, a key or a network is raised in
            either case.
        :param settings:
            The other fields of `ctxembed.Settings`, by name. `normalize` is `True` by default, and
            `encoding="ubinary"` is refused, because Haystack stores floats.
        :raises ConfigurationError: The settings have an unknown value, or do not go together.
        """
        self._take(model, device, api_key, settings)
        self._grouping = Grouping(
            source_key=source_key,
            order_key=order_key,
            missing_group=missing_group,
            bare_names=bare_names,
        )
        self._grouping.check()
        self._told_unnamed = False
        if isinstance(meta_fields_to_embed, str):
            raise ConfigurationError("meta_fields_to_embed is a list of names, got one string.")
        self.source_key = source_key
        self.order_key = order_key
        self.missing_group = missing_group
        self.bare_names = bare_names
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
            bare_names=self.bare_names,
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
        plan = self._plan(documents)
        sources, texts = plan.sources, plan.texts
        embedder = self._open()
        before = embedder.usage
        with (
            located_errors(lambda number: (number, sources[number].siblings.source), "source"),
            chunks_located(sources),
        ):
            if self.raise_on_failure:
                outcomes: Outcomes = embedder.embed_documents(texts, progress=self.progress_bar)
            else:
                with (
                    progress_bar(texts, shown=self.progress_bar) as watch,
                    closing(embedder.stream(texts, errors="return", watch=watch)) as stream,
                ):
                    outcomes = [_of_input(outcome) for outcome in stream]
        return self._result(plan, outcomes, usage_since(before, embedder.usage))

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Like `run`, without blocking the event loop.

        :param documents: Documents, in any order; all chunks of a source in one call.
        :returns: What `run` returns.
        """
        plan = self._plan(documents)
        sources, texts = plan.sources, plan.texts
        embedder = await self._aopen()
        before = embedder.usage
        with (
            located_errors(lambda number: (number, sources[number].siblings.source), "source"),
            chunks_located(sources),
        ):
            if self.raise_on_failure:
                outcomes: Outcomes = await embedder.aembed_documents(
                    texts, progress=self.progress_bar
                )
            else:
                with progress_bar(texts, shown=self.progress_bar) as watch:
                    found = embedder.astream(texts, errors="return", watch=watch)
                    async with aclosing(found) as stream:
                        outcomes = [_of_input(outcome) async for outcome in stream]
        return self._result(plan, outcomes, usage_since(before, embedder.usage))

    def _plan(self, documents: list[Document]) -> _Plan:
        check_documents(documents, type(self).__name__)
        named = [with_text_source(document, self.source_key) for document in documents]
        distinct, places = without_copies(named, self._grouping)
        groups = group_siblings(distinct, self._grouping)
        if self.raise_on_failure:
            refuse_errors(groups)
        if not unnamed(groups, distinct):
            report_gaps(groups)
        elif not self._told_unnamed:
            self._told_unnamed = True
            report_unnamed(distinct, self.source_key)
        template = TextTemplate(
            self.meta_fields_to_embed,
            self.embedding_separator,
            self.meta_once,
            self.prefix,
            self.suffix,
        )
        keep_blank = self.settings.empty == "zero"
        sources = [chunks_of(each, distinct, template, keep_blank=keep_blank) for each in groups]
        report_blank(sources)
        embedded = [each for each in sources if each.texts]
        texts = [each.siblings.error or each.texts for each in embedded]
        return _Plan(distinct, places, embedded, texts)

    def _result(self, plan: _Plan, outcomes: Outcomes, usage: dict[str, Any]) -> dict[str, Any]:
        rows: dict[int, list[float]] = {}
        failed = []
        for source, outcome in zip(plan.sources, outcomes, strict=True):
            if isinstance(outcome, EmbedError):
                failed.append(failure(source.siblings, source.located(outcome), plan.documents))
            else:
                rows.update(zip(source.positions, to_floats(outcome), strict=True))
        report_failed(failed, len(plan.sources))
        meta: dict[str, Any] = {"model": self.settings.model, "usage": usage}
        if not self.raise_on_failure:
            meta["failed"] = failed
        found = with_rows(plan.documents, plan.sources, rows, self._grouping)
        return {"documents": [found[place] for place in plan.places], "meta": meta}


def _of_input(outcome: Array | EmbedError) -> Array | EmbedError:
    """Return an array or an error about the input; raise what is wrong with a model or network."""
    if isinstance(outcome, EmbedError) and not isinstance(outcome, InputError):
        raise outcome
    return outcome
