"""Grouping and ordering hold for whatever a call brings."""

from haystack import Document
from hypothesis import given
from hypothesis import strategies as st

from haystack_integrations.components.embedders.ctxembed.siblings import Grouping, group_siblings
from haystack_integrations.components.embedders.ctxembed.source_chunks import TextTemplate

GROUPING = Grouping(
    source_key="source_id", order_key="split_id", missing_group="single", bare_names="error"
)
KEYS = st.one_of(st.none(), st.sampled_from(["a", "b", ""]), st.integers(0, 2))
PLACES = st.integers(-1, 5)


@given(st.lists(st.tuples(KEYS, PLACES), max_size=20))
def test_every_document_is_in_one_source_in_order(items):
    documents = [
        Document(content="same", meta={"source_id": key, "split_id": place})
        for key, place in items
    ]
    sources = group_siblings(documents, GROUPING)
    positions = [position for source in sources for position in source.positions]
    assert sorted(positions) == list(range(len(items)))
    for source in sources:
        places = [items[position][1] for position in source.positions]
        assert {items[position][0] for position in source.positions} == {source.key}
        if source.key is None:
            assert len(places) == 1
            assert source.problem == "it has a split_id and no source_id"
        elif len(set(places)) < len(places):
            assert "is one too many" in source.error.message
        else:
            assert source.error is None
            assert places == sorted(places)
            assert (source.problem is None) == (places == list(range(len(places))))
    named = [source.key for source in sources if source.key is not None]
    assert len(named) == len(set(named))


@given(st.text(), st.lists(st.one_of(st.none(), st.integers(), st.text(min_size=1))))
def test_a_text_holds_all_that_is_to_be_embedded(content, values):
    meta = {f"field {number}": value for number, value in enumerate(values)}
    template = TextTemplate([*meta, "absent"], " | ", meta_once=False, prefix="<", suffix=">")
    text = template.around(template.body(Document(content=content, meta=meta), 0))
    body = " | ".join([*(str(value) for value in values if value is not None), content])
    assert text == (f"<{body}>" if body.strip() else "")
