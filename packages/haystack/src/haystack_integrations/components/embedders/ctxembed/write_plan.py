# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""What of a call is written, what is left out, and whose former rows go: checked before a write.

What an embedder did is read from the documents: one with a `context_size` and no embedding is one
that it failed on. How a store is asked is left to the writer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from haystack import Document

from ctxembed import InputError
from haystack_integrations.components.embedders.ctxembed.log_messages import (
    report_skipped,
    report_unnamed,
    unnamed,
)
from haystack_integrations.components.embedders.ctxembed.siblings import (
    Grouping,
    Siblings,
    group_siblings,
    is_blank,
    with_text_source,
    without_copies,
)
from haystack_integrations.components.embedders.ctxembed.source_chunks import (
    CONTEXT_SIZE,
    ORDER_KEY,
    SOURCE_KEY,
)

CHILDREN = "__children_ids"
"""The meta field in which Haystack's hierarchical splitter lists the blocks within a block."""
AUTO = "auto"
"""The name of a field that the embedder has written into the documents."""


@dataclass(frozen=True, slots=True)
class WritePlan:
    """The documents to write, and what else becomes of a call.

    `source_key` is the meta field that names their source. The former rows of `sources` go, unless
    they are among the documents, and so do the rows with `blank_ids`: those of documents that have
    neither a source nor text. `skipped` has the documents of sources that the embedder failed on.
    """

    source_key: str
    documents: list[Document]
    sources: set[str | int]
    blank_ids: set[str]
    skipped: list[Document]

    @property
    def is_empty(self) -> bool:
        """Whether the store need not be asked."""
        return not (self.documents or self.sources or self.blank_ids)

    def outcome(self, written: int, deleted: int) -> dict[str, Any]:
        """Return what the writer gives out."""
        return {
            "documents_written": written,
            "documents_deleted": deleted,
            "skipped": self.skipped,
        }


def plan_write(given: Sequence[Document], asked: Grouping, *, whole: bool) -> WritePlan:
    """Return what is to be done; without `whole`, parts of sources are written and nothing goes.

    Raises:
        InputError: a chunk that no embedder has seen, an id that is there twice, or a source with
            gaps.
    """
    grouping = _resolved(asked, given)
    source_key = grouping.source_key
    named = [with_text_source(document, source_key) for document in given]
    documents, _ = without_copies(named, grouping)
    groups = group_siblings(documents, grouping if whole else replace(grouping, order_key=None))
    failed = [each for each in groups if any(_failed(documents[n]) for n in each.positions)]
    left = [each for each in groups if not any(_failed(documents[n]) for n in each.positions)]
    blank = {n for each in left for n in each.positions if _blank(documents[n])}
    for each in left:
        if each.error is not None and not blank.issuperset(each.positions):
            raise each.error.at(f"nothing was written: {each.error.message}")
    positions = sorted(n for each in left for n in each.positions if n not in blank)
    written = [documents[n] for n in positions]
    _check_rows(written, source_key)
    if whole:
        for each in left:
            _check_whole(each, [documents[n] for n in each.positions if n not in blank])
        if unnamed(groups, documents):
            report_unnamed(documents, source_key)
    report_skipped(failed, len(groups))
    skipped = sorted(n for each in failed for n in each.positions)
    alone = {n for each in left if each.key is None for n in each.positions}
    return WritePlan(
        source_key=source_key,
        documents=written,
        sources={each.key for each in left if whole and each.key is not None},
        blank_ids={documents[n].id for n in blank & alone if whole},
        skipped=[documents[n] for n in skipped],
    )


def _resolved(asked: Grouping, documents: Sequence[Document]) -> Grouping:
    """Return a grouping with the fields that the embedder used, where it was asked for those.

    What another embedder gave is known by the fields of Haystack's splitters.
    """
    used = {(d.meta[SOURCE_KEY], d.meta.get(ORDER_KEY)) for d in documents if SOURCE_KEY in d.meta}
    if len(used) > 1:
        raise InputError(
            f"its documents come from embedders with unlike keys, {sorted(map(str, used))}, so "
            "nothing was written. Hint: one source_key and one order_key, or one writer for each."
        )
    source_key, order_key = used.pop() if used else ("source_id", "split_id")
    return replace(
        asked,
        source_key=source_key if asked.source_key == AUTO else asked.source_key,
        order_key=order_key if asked.order_key == AUTO else asked.order_key,
    )


def _failed(document: Document) -> bool:
    return not document.embedding and CONTEXT_SIZE in document.meta


def _blank(document: Document) -> bool:
    return not document.embedding and is_blank(document.content)


def _check_whole(siblings: Siblings, written: Sequence[Document]) -> None:
    """Refuse a source that lacks chunks, also one whose last chunk is missing."""
    problem, hint = siblings.problem, siblings.hint
    counts: Counter[tuple[str, int]] = Counter()
    for document in written:
        size = document.meta.get(CONTEXT_SIZE)
        if isinstance(size, int) and size > 0:
            counts[repr(document.meta.get(str(document.meta.get(SOURCE_KEY)))), size] += 1
    for (_, size), count in counts.items():
        # a writer's source may be made of several sources of the embedder
        if count % size and problem is None:
            problem = f"the call has {count} chunks of a source that had {size}"
            hint = (
                "Hint: give all its chunks in one call, and leave source_key of the writer as it "
                'is; partial="append" adds to what the store has.'
            )
    if problem is not None:
        raise InputError(
            f"{problem}, so this is not the whole source and nothing was written. {hint}",
            key=siblings.source,
        )


def _check_rows(documents: Sequence[Document], source_key: str) -> None:
    for document in documents:
        if not document.embedding and not document.meta.get(CHILDREN):
            raise InputError(
                f"document {document.id!r} has no embedding, so nothing was written. Hint: put "
                "ContextualDocumentEmbedder before the writer.",
                key=_source(document, source_key),
            )
    counts = Counter(document.id for document in documents)
    for document in documents:
        if counts[document.id] > 1:
            raise InputError(
                f"{counts[document.id]} documents have the id {document.id!r}, and a store keeps "
                "one of them; nothing was written. Hint: equal chunks get ids of their own from "
                "split_id in meta.",
                key=_source(document, source_key),
            )


def _source(document: Document, source_key: str) -> str:
    key = document.meta.get(source_key)
    return document.id if key is None else str(key)
