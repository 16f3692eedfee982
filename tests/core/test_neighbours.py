"""The neighbour weight, against its definition written anew in float64 numbers."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ctxembed import ConfigurationError, Embedder, ModelSpec, Settings
from ctxembed.recipe import document_recipe, query_recipe
from ctxembed.testing import FakeBackend
from ctxembed.testing.fake import fake_rows
from ctxembed.windows import layout_for, plan_windows

SPEC = ModelSpec(
    name="u",
    dimensions=16,
    max_tokens=30,
    window_tokens=20,
    neighbour_weight=0.3,
    quantizer="tanh",
)
WORDS = st.sampled_from(["alpha", "beta", "gamma", "delta"])
CHUNK = st.lists(WORDS, max_size=9).map(" ".join) | st.just("long " * 70)
DOCUMENT = st.lists(CHUNK, min_size=1, max_size=9)
WEIGHTS = st.sampled_from([0.0, 0.25, 0.5, 1.0])
NEIGHBOURS = st.sampled_from([0.0, 0.2, 0.5, 3.0])


def unit(vector):
    length = np.linalg.norm(vector)
    return vector / length if length else np.zeros_like(vector)


def parts(document, layout):
    """Return contextual and independent vectors of the chunks with text, float64, by number."""
    numbers = [number for number, chunk in enumerate(document) if chunk.strip()]
    chunks = FakeBackend(SPEC).tokenize([document[number] for number in numbers])
    contextual, independent = {}, {}
    for window in plan_windows(0, chunks, layout):
        rows = fake_rows(window, SPEC.dimensions).astype(np.float64)
        for chunk in window.keep:
            if window.independent:
                before = independent.get(numbers[chunk], 0)
                independent[numbers[chunk]] = before + window.share * rows[chunk - window.first]
            else:
                contextual[numbers[chunk]] = rows[chunk - window.first]
    return independent | contextual, independent, numbers


def defined(document, weight, share, settings):
    """Return the rows by the definition, before they are quantised; zeros for blank chunks."""
    layout = layout_for(settings, SPEC)
    contextual, independent, numbers = parts(document, layout)
    rows = np.zeros((len(document), SPEC.dimensions))
    for place, number in enumerate(numbers):
        c, i = contextual[number], independent.get(number)
        around = [numbers[p] for p in (place - 1, place + 1) if 0 <= p < len(numbers)]
        if share and around:
            g = unit(np.mean([unit(independent[each]) for each in around], axis=0))
        else:
            g = np.zeros(SPEC.dimensions)
        if i is None or (not g.any() and (weight in (0, 1) or np.array_equal(c, i))):
            rows[number] = c if weight else i
            continue
        d = weight * unit(c) + (1 - weight) * unit(i) + share * g
        length = weight * np.linalg.norm(c) + (1 - weight) * np.linalg.norm(i)
        rows[number] = length * unit(d)
    return rows


@given(DOCUMENT, WEIGHTS, NEIGHBOURS)
def test_rows_are_those_of_the_definition(document, weight, share):
    """Windows, chunks alone in theirs, blanks between, chunks cut into pieces, every weight."""
    settings = Settings(
        context_weight=weight, neighbour_weight=share, long_chunks="pool", empty="zero"
    )
    recipe = document_recipe(settings, FakeBackend(SPEC))
    assert recipe.form == "pooled"
    (codes,) = Embedder(FakeBackend(SPEC), settings).embed_documents([document])
    rows = defined(document, weight, share, settings)

    assert np.abs(codes - np.clip(np.tanh(rows) * 127, -128, 127)).max() <= 0.5 + 1e-3


@given(DOCUMENT, WEIGHTS, st.sampled_from(["int8", "float", "binary", "ubinary"]))
def test_without_neighbours_nothing_changes(document, weight, encoding):
    """A weight of 0 is the same as a model that has none, to the last bit, in every encoding."""
    told = {"context_weight": weight, "encoding": encoding, "long_chunks": "pool", "empty": "zero"}
    if encoding == "ubinary":
        told["empty"] = "error"
        document = [chunk or "text" for chunk in document]
    plain = ModelSpec(
        name="u",
        dimensions=16,
        max_tokens=30,
        window_tokens=20,
        neighbour_weight=0,
        quantizer="tanh",
    )
    (one,) = Embedder(FakeBackend(SPEC), Settings(**told, neighbour_weight=0)).embed_documents(
        [document]
    )
    (two,) = Embedder(FakeBackend(plain), Settings(**told)).embed_documents([document])

    assert np.array_equal(one, two)


@given(CHUNK.filter(str.strip), WEIGHTS, NEIGHBOURS)
def test_a_chunk_alone_is_as_it_was(chunk, weight, share):
    """With no neighbour, or blank ones only, a row is the independent vector, unchanged."""
    told = {"encoding": "float", "long_chunks": "pool", "empty": "zero"}
    (alone,) = Embedder(
        FakeBackend(SPEC), Settings(**told, context_weight=0, neighbour_weight=0)
    ).embed_documents([[chunk]])
    settings = Settings(**told, context_weight=weight, neighbour_weight=share)
    rows = Embedder(FakeBackend(SPEC), settings).embed_documents([[chunk], ["", chunk, " "]])

    assert np.array_equal(alone, rows[0])
    assert np.array_equal(alone[0], rows[1][1])


@given(st.lists(DOCUMENT, min_size=2, max_size=4), DOCUMENT, st.data())
def test_an_edit_changes_rows_of_its_own_document_only(documents, edited, data):
    """Whatever stands beside it in a call."""
    embedder = Embedder(
        FakeBackend(SPEC),
        Settings(context_weight=0.5, neighbour_weight=0.4, long_chunks="pool", empty="zero"),
    )
    number = data.draw(st.integers(0, len(documents) - 1))
    before = embedder.embed_documents(documents)
    after = embedder.embed_documents([*documents[:number], edited, *documents[number + 1 :]])

    for other in set(range(len(documents))) - {number}:
        assert np.array_equal(before[other], after[other])


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, 0.3),
        ({"context_weight": 0.25}, 0.3),
        ({"context_weight": 0}, 0.0),
        ({"context_weight": 1}, 0.0),
        ({"context_weight": 1, "neighbour_weight": 0.1}, 0.1),
        ({"context_weight": 0, "neighbour_weight": 0.5}, 0.5),
        ({"neighbour_weight": 0}, 0.0),
        ({"neighbour_weight": 2}, 2.0),
    ],
)
def test_the_default_is_the_models_own_where_vectors_are_mixed(told, expected):
    """Queries have no neighbours in any case."""
    backend = FakeBackend(SPEC)

    assert document_recipe(Settings(**told), backend).layout.neighbour_weight == expected
    assert query_recipe(Settings(**told), backend).layout.neighbour_weight == 0


def test_a_second_pass_where_neighbours_need_one():
    """The contextual vector alone needs no independent ones, unless neighbours are added."""
    for share, tokens in ((0, 5 + 2), (0.2, 5 + 2 + 5)):
        backend = FakeBackend()
        embedder = Embedder(backend, Settings(neighbour_weight=share))
        embedder.embed_documents([["one two", "three four", "five"]])
        assert embedder.usage.tokens == tokens


@pytest.mark.parametrize(
    "value", [-0.1, float("nan"), float("inf"), 10**400, "0.2", b"1", True, [0.2], 1j]
)
def test_what_is_no_weight_is_refused(value):
    """A number from 0 up, which JSON can carry."""
    with pytest.raises(ConfigurationError, match="neighbour_weight is a number from 0 up"):
        Settings(neighbour_weight=value)
    if value != 10**400:
        with pytest.raises(ConfigurationError, match="context_weight is a number from 0 to 1"):
            Settings(context_weight=value)


def test_zero_is_one_setting_with_either_sign():
    for name in ("context_weight", "neighbour_weight"):
        below, zero = (Settings(model="minilm", **{name: value}) for value in (-0.0, 0))
        assert below.fingerprint() == zero.fingerprint()


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("share", [1e20, 1e39, 1e300])
def test_any_share_gives_the_direction_of_the_neighbours_at_the_most(weight, share):
    """The squares of such a share are beyond float32, which gave zero rows, or not a number."""
    told = {"context_weight": weight, "encoding": "float", "normalize": True}
    rows = [
        Embedder(FakeBackend(SPEC), Settings(**told, neighbour_weight=each)).embed_documents(
            [["alpha", "beta", "gamma"]]
        )[0]
        for each in (1e9, share)
    ]

    assert np.linalg.norm(rows[0], axis=1) == pytest.approx(1)
    assert np.allclose(rows[0], rows[1], atol=1e-5)


def test_a_backend_that_gives_codes_only_cannot_add_neighbours():
    """The message says which setting it takes."""
    backend = FakeBackend(forms=frozenset({"int8", "binary"}))

    with pytest.raises(ConfigurationError, match="neighbour_weight=0"):
        Embedder(backend, Settings(neighbour_weight=0.2))
    assert len(Embedder(backend, Settings(neighbour_weight=0)).embed_documents([["a", "b"]])) == 1
