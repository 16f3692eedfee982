"""Queries without labels: a form to be filled in by a person, and labels from a filled one.

A form is plain text. It has the first chunks of every run together, in an order that does not tell
which run found them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent

import numpy as np

from ctxembed.errors import InputError
from ctxembed.evaluation.collection import Collection, Query, Span
from ctxembed.evaluation.run import Run

JUDGED = 5
"""How many chunks of each run are in the form."""

_HEAD = """\
# Put an x between the brackets before each passage that answers its query: [x]
# Then: ctxembed evaluate INPUT --judged THIS_FILE
# A passage without an x counts as no answer, and so do passages that are not here.
"""
_PASSAGE = re.compile(r'\[(.?)\] ("(?:[^"\\]|\\.)*") (\d+)-(\d+)\s*$')


def plain_queries(path: Path) -> tuple[Query, ...]:
    """Return the queries on the lines of a file of text, which have no labels.

    Raises:
        InputError: the file is not UTF-8, or has no line with text.
    """
    lines = [" ".join(line.split()) for line in _read(path).splitlines()]
    found = tuple(Query(f"line-{n}", line, {}) for n, line in enumerate(lines, 1) if line)
    if not found:
        raise InputError(f"{path}: has no queries. Hint: one on each line.")
    return found


def form(runs: Sequence[Run], *, seed: int = 0) -> str:
    """Return the form for the first chunks of these runs, which are all of one corpus."""
    random = np.random.default_rng(seed)
    corpus = runs[0].corpus
    chunks, places = corpus.chunks, corpus.places
    parts = [_HEAD]
    for row, query in enumerate(corpus.queries):
        found = np.unique(np.concatenate([run.hits[row, :JUDGED] for run in runs]))
        parts.append(f"\n? {query.text}\n")
        for number in random.permutation(found).tolist():
            name, (start, stop) = chunks[number].document, places[number]
            parts.append(f"[ ] {json.dumps(name)} {start}-{stop}\n")
            parts.append(indent(chunks[number].text, "    ", lambda _: True) + "\n")
    return "".join(parts)


def judged(path: Path, collection: Collection) -> Collection:
    """Return a collection with the queries of a form, and the passages marked in it as answers.

    Raises:
        InputError: a line is not as in the form, or no passage has a mark.
    """
    lengths = {document.id: len(document.text) for document in collection.documents}
    asked: list[tuple[str, dict[str, tuple[Span, ...]]]] = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        if line.startswith("? "):
            asked.append((line[2:], {}))
        elif line.startswith("["):
            passage = _PASSAGE.match(line)
            if passage is None or not asked:
                raise InputError(
                    f'{path}, line {number}: has to be [ ] or [x], "document" and start-end, below '
                    "a query. Hint: change nothing but what is between the brackets."
                )
            name, span = json.loads(passage[2]), (int(passage[3]), int(passage[4]))
            if not span[0] < span[1] <= lengths.get(name, 0):
                raise InputError(
                    f"{path}, line {number}: the documents have no such passage. Hint: the form is "
                    "for the documents that it was made of."
                )
            if passage[1].strip():
                answers = asked[-1][1]
                answers[name] = (*answers.get(name, ()), span)
    queries = tuple(Query(f"judged-{n}", *each) for n, each in enumerate(asked, 1))
    if not any(query.answers for query in queries):
        raise InputError(f"{path}: no passage is marked. Hint: put an x between the brackets.")
    return replace(collection, queries=queries, whole=False)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is not UTF-8 at byte {error.start}. Hint: save the file as UTF-8."
        ) from None
