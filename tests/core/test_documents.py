"""Items to documents and back."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ctxembed import EmptyChunkError, InputError, group, scatter, sibling_fingerprint
from ctxembed.documents import check_document

KEYS = st.none() | st.sampled_from(["a", "b", "c", 1, ("a", 1)])
ITEMS = st.lists(st.tuples(KEYS, st.sampled_from(["x", "y", "", "x y"])), max_size=40)


@given(ITEMS)
def test_scatter_undoes_group(items):
    """Every item gets its own text back, in its own place."""
    groups = group(items)

    assert [text for _, text in items] == scatter(groups.documents, groups.positions)


@given(ITEMS)
def test_documents_are_the_keys_in_first_seen_order(items):
    """One document a key in first-seen order, its texts in item order; a None key stands alone."""
    groups = group(items)
    expected: list[tuple[object, list[str]]] = []
    for key, text in items:
        known = next((texts for k, texts in expected if k == key and k is not None), None)
        if known is None:
            expected.append((key, [text]))
        else:
            known.append(text)

    assert [texts for _, texts in expected] == groups.documents
    assert [key for key, _ in expected] == groups.keys


def test_equal_texts_do_not_collapse():
    """Repeated chunks, and documents alike to the letter, keep a row each."""
    groups = group([("a", "x"), ("b", "x"), ("a", "x"), (None, "x"), (None, "x")])

    assert [["x", "x"], ["x"], ["x"], ["x"]] == groups.documents
    assert ["a0", "b0", "a1", "n0", "m0"] == scatter(
        [["a0", "a1"], ["b0"], ["n0"], ["m0"]], groups.positions
    )


@given(st.lists(st.text(), max_size=5), st.lists(st.text(), max_size=5))
def test_fingerprint_is_of_the_ordered_chunks(one, two):
    """Two lists of chunks share a fingerprint only when they are equal."""
    assert (one == two) == (sibling_fingerprint(one) == sibling_fingerprint(two))


def test_fingerprint_sees_borders():
    """Moving a border between chunks changes the fingerprint."""
    assert sibling_fingerprint(["ab", "c"]) != sibling_fingerprint(["a", "bc"])
    assert sibling_fingerprint(["", "a"]) != sibling_fingerprint(["a", ""])


@pytest.mark.parametrize(
    ("document", "chunk", "words"),
    [
        ("flat", None, "list of chunks"),
        (b"flat", None, "list of chunks"),
        (None, None, "list of chunks"),
        ({"a": "b"}, None, "list of chunks"),
        ([], None, "no chunks"),
        (["a", 1], 1, "string"),
        (["a", b"b"], 1, "string"),
        (["a", None], 1, "string"),
        (["a", "bad \ud800"], 1, "surrogate"),
    ],
)
def test_bad_documents_are_named(document, chunk, words):
    """What isn't a list of strings is refused with its number, and the chunk's."""
    with pytest.raises(InputError, match=words) as caught:
        check_document(document, 7)

    assert (caught.value.document, caught.value.chunk) == (7, chunk)
    assert str(caught.value).startswith("Document 7")


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u3000"])
def test_blank_chunks_are_refused_unless_asked_for(blank):
    """A chunk without text is an error that names the way out, which works."""
    with pytest.raises(EmptyChunkError, match='empty="zero"') as caught:
        check_document(["a", blank], 3)

    assert (caught.value.document, caught.value.chunk) == (3, 1)
    assert check_document(["a", blank], 3, "zero") == ("a", blank)


def test_tuples_are_documents():
    """Any sequence of strings will do."""
    assert check_document(("a", "b"), 0) == ("a", "b")


def test_items_need_not_be_texts():
    assert group([("a", 1), (None, 2), ("a", 3)]).documents == [[1, 3], [2]]


def test_group_refuses_texts_without_keys():
    """A string of two letters would otherwise count as a key and a text."""
    with pytest.raises(InputError, match=r"item 1: expected \(key, text\), got one string"):
        group([("a", "one"), "ab"])  # type: ignore[list-item]
