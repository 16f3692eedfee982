# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""What the log and `meta["failed"]` say about a run that did not go as it should.

Neither of them has the text of a document.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from haystack import Document, logging

from ctxembed import EmbedError
from haystack_integrations.components.embedders.ctxembed.siblings import Siblings
from haystack_integrations.components.embedders.ctxembed.source_chunks import SourceChunks

logger = logging.getLogger(__name__)

_NAMES = 5
"""How many sources a message names."""

_MUCH_ALIKE = 0.7
"""Likeness of two names, from 0 to 1: `filepath` and `file_path` have 0.94, `file_type` and
`file_path` have 0.67."""


def unnamed(groups: Sequence[Siblings], documents: Sequence[Document]) -> bool:
    """Tell whether none of several documents names its source."""
    return len(documents) > 1 and not any(
        siblings.key is not None or siblings.error for siblings in groups
    )


def report_unnamed(documents: Sequence[Document], source_key: str) -> None:
    """Log that no document names its source, and what may have been meant."""
    names = sorted({name for d in documents for name in d.meta if isinstance(name, str)})
    nearest = get_close_matches(source_key, names, n=1, cutoff=_MUCH_ALIKE)
    logger.warning(
        "None of {count} documents has the source_key {source_key} in its meta, so each stands "
        "alone: it gets no context from others, and no former rows of its source are replaced. "
        "{hint}",
        count=len(documents),
        source_key=repr(source_key),
        hint=f"Its meta has {nearest[0]!r}: is that meant?"
        if nearest
        else "Hint: name a field that the chunks of one source share; splitters set 'source_id'.",
    )


def report_gaps(groups: Sequence[Siblings]) -> None:
    """Log, once per run, that sources seem to lack chunks or to have too many."""
    found = [siblings for siblings in groups if siblings.problem]
    if found:
        logger.warning(
            "The chunks of {count} of {total} sources do not count from 0 without gaps; the "
            "first is {source}: {problem}. A chunk that is not in the call gives no context to "
            "the others. The likely cause is a source cut over two calls, a filter before the "
            "embedder, a source given twice, or a source_key that the chunks do not have.",
            count=len(found),
            total=len(groups),
            source=repr(found[0].source),
            problem=found[0].problem,
        )


def report_blank(sources: Sequence[SourceChunks]) -> None:
    """Log, once per run, how many chunks have no text, and of which sources."""
    found = [each for each in sources if each.blank]
    if found:
        logger.warning(
            "Chunks without text: {count}, of {sources}. They come back without an embedding, and "
            "ContextualDocumentWriter leaves them out.",
            count=sum(each.blank for each in found),
            sources=named([each.siblings.source for each in found]),
        )


def named(sources: Sequence[str]) -> str:
    """Return the names of a few sources, and how many more there are."""
    shown = ", ".join(map(repr, sources[:_NAMES]))
    more = len(sources) - _NAMES
    return f"{shown} and {more} more sources" if more > 0 else shown


def report_failed(failed: Sequence[dict[str, Any]], total: int) -> None:
    """Log, once per run, that sources were not embedded."""
    if failed:
        logger.warning(
            "{count} of {total} sources were not embedded; the first is {source}: {reason}",
            count=len(failed),
            total=total,
            source=repr(failed[0]["source"]),
            reason=failed[0]["reason"],
        )


def failure(
    siblings: Siblings, error: EmbedError, documents: Sequence[Document]
) -> dict[str, Any]:
    """Return the entry of `meta["failed"]` for a source, in plain values."""
    place = "" if error.chunk is None else f"chunk {error.chunk}: "
    return {
        "source": siblings.source,
        "documents": [documents[position].id for position in siblings.positions],
        "error": type(error).__name__,
        "reason": place + error.message,
    }


def report_skipped(failed: Sequence[Siblings], total: int) -> None:
    """Log, once per run, that sources were not written because the embedder failed on them."""
    if failed:
        logger.warning(
            "{count} of {total} sources were not written, because the embedder failed on them: "
            "{sources}. Their former rows stay.",
            count=len(failed),
            total=total,
            sources=named([each.source for each in failed]),
        )
