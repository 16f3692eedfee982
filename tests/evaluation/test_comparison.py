"""Runs side by side: what is counted, what is unbeaten, and which one to take."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ir_measures")

from ctxembed.errors import ConfigurationError, InputError
from ctxembed.evaluation import Collection, Corpus, Document, Query, Run, compare, cut
from ctxembed.evaluation.recommendation import unbeaten

WORDS = [f"{letter}{letter}{letter}{letter}" for letter in "abcdefghijklmnop"]
TEXT = " ".join(WORDS)
COLLECTION = Collection(
    name="letters",
    source="made here",
    documents=tuple(Document(f"d{n}", "", TEXT) for n in range(6)),
    queries=tuple(Query(f"q{n}", "?", {f"d{n}": ((0, 4),)}) for n in range(6)),
)


def words(count: int) -> Corpus:
    """Return the collection in chunks of so many words."""
    return cut(
        COLLECTION,
        lambda _: [" ".join(WORDS[n : n + count]) for n in range(0, len(WORDS), count)],
    )


def run(corpus: Corpus, place: int, name: str = "", tokens: int = 100, **changes) -> Run:
    """Return a run that finds the answer of every query at this place, counted from 1."""
    hits = []
    for wanted in corpus.relevant:
        wrong = [number for number in range(len(corpus.places)) if number not in wanted][:20]
        hits.append([*wrong[: place - 1], wanted[0], *wrong[place - 1 :]])
    given = Run(
        name=name,
        corpus=corpus,
        vectors=[],
        hits=np.array(hits),
        tokens=tokens,
        seconds=None,
        bytes_per_chunk=10,
        settings=(("place", str(place)),),
    )
    return replace(given, **changes)


def test_the_cheapest_of_the_good_ones_is_taken():
    """The best is beaten by nobody, nor is the cheaper one; what is worse for as much is."""
    corpus = words(1)
    runs = [run(corpus, 2, "mine"), run(corpus, 1, tokens=300), run(corpus, 1, tokens=250)]
    found = compare([*runs, run(corpus, 3)])

    assert [True, False, True, False] == [each.best for each in found.runs]
    mrr = [(each.figures["MRR@10"].value, each.gain["MRR@10"].value) for each in found.runs]
    assert np.allclose([(0.5, 0), (1, 0.5), (1, 0.5), (1 / 3, 1 / 3 - 0.5)], mrr)
    assert found.verdict.startswith("Take place 1: nDCG@10 +0.369 over mine. It reads 2.5 times")
    assert "MRR@10 changes by +0.500." in found.verdict
    assert (found.changes, found.heat_map, found.beyond) == (None, None, None)


def test_nothing_better_is_nothing_to_take():
    corpus = words(1)
    found = compare([run(corpus, 1, "mine"), run(corpus, 1, tokens=300), run(corpus, 2)])

    assert found.verdict == "Stay with mine: no other setting is clearly better."


def test_larger_chunks_get_no_more_text_than_ten_of_the_first_run():
    """Four times the words: the first two or three places count, and no more."""
    small, large = words(1), words(4)
    inside = compare([run(small, 10), run(large, 2)])
    outside = compare([run(small, 10), run(large, 3)])

    assert [0.1, 0.5] == pytest.approx([each.figures["MRR@10"].value for each in inside.runs])
    assert [0.1, 0] == pytest.approx([each.figures["MRR@10"].value for each in outside.runs])
    assert "Larger chunks were given no more text" in inside.verdict
    assert [0.5, 0.1] == pytest.approx(
        [each.figures["MRR@10"].value for each in compare([run(large, 2), run(small, 10)]).runs]
    )


def test_only_queries_that_every_run_has_an_answer_to_are_counted():
    corpus = words(1)
    fewer = replace(corpus, queries=corpus.queries[1:], relevant=corpus.relevant[1:])
    found = compare([run(corpus, 1), run(fewer, 1)])

    assert (5, 1) == (found.queries, found.unanswered)


def test_runs_that_cannot_be_compared_are_refused():
    corpus = words(1)
    other = replace(corpus, collection=replace(COLLECTION, name="other"))
    none = replace(corpus, queries=[], relevant=[])

    with pytest.raises(ConfigurationError, match="one or more, all of one collection"):
        compare([run(corpus, 1), run(other, 1)])
    with pytest.raises(ConfigurationError, match="one or more"):
        compare([])
    with pytest.raises(InputError, match="no query has a relevant chunk in every run"):
        compare([run(corpus, 1), run(none, 1)])


def test_what_is_equal_beats_nothing():
    assert [True, True, False] == unbeaten([(1, 1, 1), (1, 1, 1), (1, 2, 1)])
