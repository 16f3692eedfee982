# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""What is said of a run that did not go as it should: in the log, in errors, in `meta["failed"]`.

No text of a document gets into any of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from haystack import Document, logging

from ctxembed import EmbedError
from haystack_integrations.components.embedders.ctxembed.sources import Source

logger = logging.getLogger(__name__)


def report_gaps(sources: Sequence[Source]) -> None:
    """Log, once a run, that sources seem to lack chunks or to have too many."""
    found = [source for source in sources if source.problem]
    if found:
        logger.warning(
            "The chunks of {count} of {total} sources do not count from 0 without gaps; the first is "
            "{source}: {problem}. A chunk that is not in the call gives no context to the others. The "
            "likely cause is a source cut over two calls, a filter before the embedder, a source given "
            "twice, or a source_key that the chunks do not have.",
            count=len(found),
            total=len(sources),
            source=repr(found[0].name),
            problem=found[0].problem,
        )


def report_failed(failed: Sequence[dict[str, Any]], total: int) -> None:
    """Log, once a run, that sources were not embedded."""
    if failed:
        logger.warning(
            "{count} of {total} sources were not embedded; the first is {source}: {reason}",
            count=len(failed),
            total=total,
            source=repr(failed[0]["source"]),
            reason=failed[0]["reason"],
        )


def failure(source: Source, error: EmbedError, documents: Sequence[Document]) -> dict[str, Any]:
    """Return the entry of `meta["failed"]` for a source, in plain values."""
    place = "" if error.chunk is None else f"chunk {error.chunk}: "
    return {
        "source": source.name,
        "documents": [documents[position].id for position in source.positions],
        "error": type(error).__name__,
        "reason": place + error.message,
    }


@contextmanager
def naming(sources: Sequence[Source]) -> Iterator[None]:
    """Give an error the name of its source; it knows the number of the source in the call."""
    try:
        yield
    except EmbedError as error:
        if error.document is not None:
            error.key = sources[error.document].name
        if error.last_document is not None:
            last = sources[error.last_document].name
            error.add_note(f"Documents are counted by source: {error.key!r} to {last!r}.")
        raise
