# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""What of a call is written, what is left out, and whose former rows go: checked before a write.

What an embedder did is read from the documents: one with a `context_size` and no embedding is one
that it failed on. How a store is asked is left to the writer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from haystack import Document

from ctxembed import InputError
from haystack_integrations.components.embedders.ctxembed.log_messages import (
    report_skipped,
    report_unnamed,
)
from haystack_integrations.components.embedders.ctxembed.siblings import (
    MissingGroup,
    Siblings,
    group_siblings,
    is_blank,
    refuse_errors,
)
from haystack_integrations.components.embedders.ctxembed.source_chunks import CONTEXT_SIZE


@dataclass(frozen=True, slots=True)
class WritePlan:
    """The documents to write, and what else becomes of a call.

    The former rows of `sources` go, unless they are among the documents, and so do the rows with
    `blank_ids`: those of documents that have neither a source nor text. `skipped` has the documents
    of sources that the embedder failed on.
    """

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


def plan_write(
    documents: Sequence[Document],
    *,
    source_key: str,
    order_key: str | None,
    missing_group: MissingGroup,
    whole: bool,
) -> WritePlan:
    """Return what is to be done; without `whole`, parts of sources are written and nothing goes.

    Raises:
        InputError: a chunk that no embedder has seen, an id that is there twice, or a source with
            gaps.
    """
    groups = group_siblings(
        documents,
        source_key=source_key,
        order_key=order_key if whole else None,
        missing_group=missing_group,
    )
    failed = [each for each in groups if any(_failed(documents[n]) for n in each.positions)]
    left = [each for each in groups if not any(_failed(documents[n]) for n in each.positions)]
    blank = {n for each in left for n in each.positions if _blank(documents[n])}
    refuse_errors(each for each in left if not blank.issuperset(each.positions))
    positions = sorted(n for each in left for n in each.positions if n not in blank)
    written = [documents[n] for n in positions]
    _check_rows(written, source_key)
    if whole:
        for each in left:
            _check_whole(each, [documents[n] for n in each.positions if n not in blank])
        report_unnamed(groups, documents, source_key)
    report_skipped(failed, len(groups))
    skipped = sorted(n for each in failed for n in each.positions)
    alone = {n for each in left if each.key is None for n in each.positions}
    return WritePlan(
        documents=written,
        sources={each.key for each in left if whole and each.key is not None},
        blank_ids={documents[n].id for n in blank & alone if whole},
        skipped=[documents[n] for n in skipped],
    )


def _failed(document: Document) -> bool:
    return not document.embedding and CONTEXT_SIZE in document.meta


def _blank(document: Document) -> bool:
    return not document.embedding and is_blank(document.content)


def _check_whole(siblings: Siblings, written: Sequence[Document]) -> None:
    """Refuse a source that lacks chunks, also one whose last chunk is missing."""
    problem = siblings.problem
    sizes = Counter(d.meta[CONTEXT_SIZE] for d in written if _is_size(d.meta.get(CONTEXT_SIZE)))
    for size, count in sizes.items():
        if count % size:  # a writer's source may be made of several sources of the embedder
            problem = problem or f"the call has {count} chunks of a source that had {size}"
    if problem is not None:
        raise InputError(
            f"{problem}, so this is not the whole source and nothing was written. Hint: give all "
            'its chunks in one call, with one source_key in embedder and writer; partial="append" '
            "adds to what the store has.",
            key=siblings.source,
        )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _check_rows(documents: Sequence[Document], source_key: str) -> None:
    for document in documents:
        if not document.embedding:
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
