"""Simulated queries: someone looks for a passage that they know, with some of its terms.

After Azzopardi, de Rijke and Balog, "Building simulated queries for known-item topics: an analysis
using six European languages", SIGIR 2007: a passage is drawn, then a length, then terms of the
passage by their weight, how often they are there times how rare they are elsewhere. Where that
paper draws some terms from the whole collection, some are drawn here from the passages around it
and from the title: what a person remembers and the passage alone does not say.

Terms are words between blanks and signs, so text without blanks between words has none.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ctxembed.errors import InputError
from ctxembed.evaluation.collection import Collection, Query, Span

QUERIES = 300
AROUND_SHARE = 0.3
"""The share of terms that are drawn from around the passage."""

_WORDS = 25
"""Sentences are put together until a passage has so many words."""

_AROUND = 2
"""How many passages before and behind are around one."""

_LEAST_TERMS, _MORE_TERMS = 2, 3.0
_SENTENCE = re.compile(r"\S.*?(?:[.!?]+(?=\s)|\n\s*\n|\Z)", re.DOTALL)
_TERM = re.compile(r"\w+")


def simulate(
    collection: Collection,
    *,
    queries: int = QUERIES,
    around_share: float = AROUND_SHARE,
    seed: int = 0,
) -> Collection:
    """Return a collection with simulated queries in place of its own, and a note that says so.

    Every document gets as many as any other, or one for each of its passages.

    Raises:
        InputError: no document has a passage with terms of its own.
    """
    random = np.random.default_rng(seed)
    spans = [passages(document.text) for document in collection.documents]
    found = [
        [_terms(document.text[start:stop]) for start, stop in places]
        for document, places in zip(collection.documents, spans, strict=True)
    ]
    everywhere = Counter(term for each in found for terms in each for term in terms)
    total = sum(map(len, found))
    rarity = {term: float(np.log(total / count)) for term, count in everywhere.items()}
    share = -(-queries // len(collection.documents))
    made: list[Query] = []
    for document, places, terms in zip(collection.documents, spans, found, strict=True):
        title = _terms(document.title)
        for number in sorted(random.permutation(len(places))[:share].tolist()):
            around = sum(terms[max(0, number - _AROUND) : number + _AROUND + 1], Counter()) + title
            around -= terms[number]
            drawn = _draw(random, terms[number], around, rarity, around_share)
            if drawn:
                answer = {document.id: (places[number],)}
                made.append(Query(f"simulated-{len(made)}", " ".join(drawn), answer))
    if not made:
        raise InputError("no passage has terms to make a query of. Hint: give --queries FILE.")
    note = (
        f"{len(made)} simulated known-item queries: terms of a passage by their weight, "
        f"{around_share:.0%} from around it and from the title, seed {seed} "
        "(after Azzopardi, de Rijke and Balog, SIGIR 2007)"
    )
    return replace(collection, queries=tuple(made), whole=False, simulated=note)


def passages(text: str) -> list[Span]:
    """Return where the passages of a text stand: whole sentences, about 25 words or more."""
    found: list[Span] = []
    start = words = 0
    for sentence in _SENTENCE.finditer(text):
        start = sentence.start() if not words else start
        words += len(sentence[0].split())
        if words >= _WORDS:
            found.append((start, sentence.end()))
            words = 0
    if words:
        found.append((start, len(text.rstrip())))
    return found


def _terms(text: str) -> Counter[str]:
    return Counter(_TERM.findall(text.casefold()))


def _draw(
    random: np.random.Generator,
    own: Mapping[str, int],
    around: Mapping[str, int],
    rarity: Mapping[str, float],
    around_share: float,
) -> list[str]:
    """Return different terms in the order in which they were drawn, none where none has weight."""
    drawn: list[str] = []
    for _ in range(_LEAST_TERMS + int(random.poisson(_MORE_TERMS))):
        source = around if random.random() < around_share else own
        for terms in (source, own):  # where nothing is left around it, the passage is
            weights = {t: n * rarity.get(t, 0.0) for t, n in terms.items() if t not in drawn}
            total = sum(weights.values())
            if total:
                chances = np.array([*weights.values()]) / total
                drawn.append([*weights][random.choice(len(weights), p=chances)])
                break
    return drawn
