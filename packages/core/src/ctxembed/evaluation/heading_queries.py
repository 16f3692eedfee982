"""Queries from headings: each asks for its section, and is taken out of the text.

Headings are Markdown's, lines that begin with `#`. Nobody asked such a query either, and it is said
that they are simulated.
"""

import re
from dataclasses import replace
from itertools import pairwise

from ctxembed.errors import InputError
from ctxembed.evaluation.collection import Collection, Document, Query, Span

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*\s*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def heading_queries(collection: Collection) -> Collection:
    """Return a collection whose headings have become its queries, and whose texts have none.

    A section goes to the next heading. Equal headings are one query with several answers. The first
    heading of a document, where it is of the first level, is its title and no query.

    Raises:
        InputError: no document has a heading with a section.
    """
    documents: list[Document] = []
    answers: dict[str, dict[str, tuple[Span, ...]]] = {}
    for document in collection.documents:
        text, sections = _without_headings(document.text)
        title = document.title
        if sections and sections[0][0] == 1:
            title = sections.pop(0)[1]
        if text.strip():
            documents.append(Document(document.id, title, text))
        for _, heading, span in sections:
            if text[slice(*span)].strip():
                known = answers.setdefault(heading, {})
                known[document.id] = (*known.get(document.id, ()), span)
    if not answers:
        raise InputError("no document has a heading with a section. Hint: --queries simulate.")
    queries = tuple(Query(f"heading-{n}", *each) for n, each in enumerate(answers.items()))
    return replace(
        collection,
        documents=tuple(documents),
        queries=queries,
        whole=False,
        simulated=f"{len(queries)} headings as queries for their sections, taken out of the text",
    )


def _without_headings(text: str) -> tuple[str, list[tuple[int, str, Span]]]:
    """Return a text without its headings, and the level, words and section of each."""
    kept: list[str] = []
    found: list[tuple[int, str, int]] = []
    size, fenced = 0, False
    for line in text.splitlines(keepends=True):
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.match(line)
        words = heading and _LINK.sub(r"\1", heading[2]).replace("`", "").strip()
        if heading and words:
            found.append((len(heading[1]), words, size))
        else:
            kept.append(line)
            size += len(line)
    starts = [start for *_, start in found] + [size]
    spans = pairwise(starts)
    sections = [(level, words, span) for (level, words, _), span in zip(found, spans, strict=True)]
    return "".join(kept), sections
