"""The form for queries without labels: what a person marks comes back as answers."""

import pytest

from ctxembed import Embedder, Settings
from ctxembed.errors import InputError
from ctxembed.evaluation import Collection, Document, Query, SharedVectors, cut
from ctxembed.evaluation.judgements import form, judged, plain_queries
from ctxembed.testing import FakeBackend

COLLECTION = Collection(
    name="odd",
    source="made here",
    documents=(Document('a "b" [c]', "", "one\n\n? two\n[x] three"), Document("d", "", "four")),
    queries=(Query("line-1", "which?", {}), Query("line-2", "who?", {})),
)


@pytest.fixture
def text() -> str:
    corpus = cut(COLLECTION, lambda d: ["one", "? two\n[x] three"] if d.id != "d" else ["four"])
    shared = SharedVectors(Embedder(FakeBackend(), Settings(model="fake")))
    return form([shared.run(corpus)])


def test_marks_come_back_as_answers(tmp_path, text):
    """Ids and texts may have anything in them that the form has too."""
    place = '[ ] "a \\"b\\" [c]" 5-20'
    assert text.count(place) == 2
    path = tmp_path / "form.txt"
    path.write_text(text.replace(place, place.replace("[ ]", "[X]"), 1), encoding="utf-8")
    found = judged(path, COLLECTION)

    assert [('a "b" [c]', ((5, 20),))] == [*found.queries[0].answers.items()]
    assert ["which?", "who?"] == [query.text for query in found.queries]
    assert {} == found.queries[1].answers


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('[x] "d" 0-5', "have no such passage"),
        ('[x] "e" 0-1', "have no such passage"),
        ("[x] d 0-4", r"has to be \[ \] or \[x\]"),
        ('[xx] "d" 0-4', r"has to be \[ \] or \[x\]"),
    ],
)
def test_a_line_that_is_not_as_it_was_is_named(tmp_path, line, reason):
    path = tmp_path / "form.txt"
    path.write_text(f"# head\n? which\n{line}\n", encoding="utf-8")

    with pytest.raises(InputError, match=rf"form\.txt, line 3: .*{reason}"):
        judged(path, COLLECTION)


def test_a_passage_before_any_query_and_a_form_without_marks_are_refused(tmp_path, text):
    path = tmp_path / "form.txt"
    path.write_text('[x] "d" 0-4', encoding="utf-8")
    with pytest.raises(InputError, match=r"line 1: .* below a query"):
        judged(path, COLLECTION)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="no passage is marked"):
        judged(path, COLLECTION)


def test_plain_lines_are_queries(tmp_path):
    path = tmp_path / "asked.txt"
    path.write_text("\ufeffone  two \n\n three", encoding="utf-8")

    assert (Query("line-1", "one two", {}), Query("line-3", "three", {})) == plain_queries(path)
    path.write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="is not UTF-8"):
        plain_queries(path)
    path.write_text(" \n", encoding="utf-8")
    with pytest.raises(InputError, match="has no queries"):
        plain_queries(path)
