# SPDX-FileCopyrightText: 2026-present the ctxembed authors
#
# SPDX-License-Identifier: Apache-2.0
"""What is said of a run that did not go as it should: in the log, in errors, in `meta["failed"]`.

No text of a document gets into any of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from haystack import Document, logging

from ctxembed import EmbedError
from haystack_integrations.components.embedders.ctxembed.siblings import Source

logger = logging.getLogger(__name__)


_MUCH_ALIKE = 0.7
"""Of 1: `filepath` and `file_path` have 0.94, `file_type` and `file_path` 0.67."""


def report_grouping(
    sources: Sequence[Source], documents: Sequence[Document], source_key: str
) -> None:
    """Log, once a run, that no document names its source, or else that sources have gaps."""
    if not report_unnamed(sources, documents, source_key):
        report_gaps(sources)


def report_unnamed(
    sources: Sequence[Source], documents: Sequence[Document], source_key: str
) -> bool:
    """Log, once a run, that none of several documents names its source; tell whether that was so."""
    if len(documents) <= 1 or any(source.key is not None or source.error for source in sources):
        return False
    names = sorted({name for d in documents for name in d.meta if isinstance(name, str)})
    nearest = get_close_matches(source_key, names, n=1, cutoff=_MUCH_ALIKE)
    logger.warning(
        "None of {count} documents has the source_key {source_key} in its meta, so each stands alone: "
        "it gets no context from others, and no former rows of its source are replaced. {hint}",
        count=len(documents),
        source_key=repr(source_key),
        hint=f"Its meta has {nearest[0]!r}: is that meant?"
        if nearest
        else "Hint: name a field that the chunks of one source share; splitters set 'source_id'.",
    )
    return True


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
