"""Simulated queries: where their terms are from, and that they say what they are."""

from collections import Counter

import pytest

from ctxembed.errors import InputError
from ctxembed.evaluation import Collection, Document, simulate
from ctxembed.evaluation.known_items import passages

LETTERS = "abcdefghij"


def sentence(letter: str) -> str:
    """Return 25 words: "the" fifteen times, and ten words that begin with the letter."""
    return " ".join([*["the"] * 15, *(f"{letter}{n}" for n in range(10))]) + "."


TEXT = " ".join(map(sentence, LETTERS))
COLLECTION = Collection(
    name="letters",
    source="made here",
    documents=(Document("x", "Title", TEXT), Document("y", "", sentence("z"))),
)


def test_passages_are_sentences_of_25_words_or_more():
    """Short sentences are put together, what is left at the end is a passage too."""
    text = "  One two. Three!\n\n" + "four " * 24 + "end? Five.  "
    found = [text[start:stop] for start, stop in passages(text)]

    assert ["One two. Three!\n\n" + "four " * 24 + "end?", "Five."] == found
    assert [] == passages(" \n ")
    assert [sentence(letter) for letter in LETTERS] == [TEXT[a:b] for a, b in passages(TEXT)]


def test_terms_are_of_the_passage_and_its_surroundings_and_say_something():
    """No term is everywhere; about three of ten are from two passages before and behind."""
    made = simulate(COLLECTION, queries=40, seed=1)
    from_passage = Counter()
    for query in made.queries:
        (document, ((start, stop),)) = next(iter(query.answers.items()))
        own = made.documents[0 if document == "x" else 1].text[start:stop]
        terms = query.text.split()
        assert "the" not in terms
        assert 2 <= len(terms) == len(set(terms))
        if document == "x":
            letter = LETTERS.index(own.split()[15][0])
            near = {"title", *LETTERS[max(0, letter - 2) : letter + 3]}
            assert {term if term == "title" else term[0] for term in terms} <= near
            from_passage.update(term in own for term in terms)

    assert 0.15 < from_passage[False] / from_passage.total() < 0.45
    assert "simulated" in made.simulated
    assert "30%" in made.simulated


def test_the_same_seed_makes_the_same_queries():
    assert simulate(COLLECTION).queries == simulate(COLLECTION).queries
    assert simulate(COLLECTION).queries != simulate(COLLECTION, seed=1).queries


def test_documents_get_equal_numbers_of_queries_as_far_as_they_have_passages():
    """Forty for two documents: ten passages in one, one in the other."""
    made = simulate(COLLECTION, queries=8)

    assert Counter(next(iter(query.answers)) for query in made.queries) == {"x": 4, "y": 1}


def test_without_context_all_terms_are_the_passages_own():
    made = simulate(COLLECTION, around_share=0.0)

    for query in made.queries:
        (document, ((start, stop),)) = next(iter(query.answers.items()))
        text = made.documents[0 if document == "x" else 1].text[start:stop].casefold()
        assert set(query.text.split()) <= set(text.rstrip(".").split())


def test_documents_without_terms_are_refused():
    with pytest.raises(InputError, match="no passage has terms"):
        simulate(Collection(name="", source="", documents=(Document("x", "", "..."),)))
