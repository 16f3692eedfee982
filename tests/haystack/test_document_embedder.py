"""By value on a random contextual model: which vector each document gets, and what is refused."""

import copy
import json
import logging
import math
import re
from dataclasses import replace

import pytest
from haystack import Document

from ctxembed import DocumentTooLongError, EmptyChunkError, InputError
from ctxembed.errors import ConfigurationError
from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualTextEmbedder,
)


@pytest.fixture
def embedder(tiny):
    return lambda **settings: ContextualDocumentEmbedder(
        **(tiny | {"progress_bar": False} | settings)
    )


def chunk(text, source="s", place=0, **meta):
    return Document(content=text, meta={"source_id": source, "split_id": place, **meta})


async def test_every_document_gets_the_vector_of_its_chunk_among_its_siblings(
    call, embedder, chunks, right
):
    documents = (await call(embedder(), documents=chunks))["documents"]
    assert [document.id for document in documents] == [document.id for document in chunks]
    assert right(documents)


async def test_siblings_change_a_vector(embedder, vectors):
    (alone,) = embedder().run([chunk("Terms apply.")])["documents"]
    among = embedder().run([chunk("The king fell ill."), chunk("Terms apply.", place=1)])
    assert alone.embedding == vectors(["Terms apply."])[0]
    assert among["documents"][1].embedding != alone.embedding


async def test_equal_ids_and_texts_keep_their_own_places(call, embedder, vectors):
    same = [Document(id="same", content="Terms apply.", meta={"k": "a"}) for _ in range(3)]
    given = embedder(source_key="k", order_key=None)
    documents = (await call(given, documents=same))["documents"]
    assert [document.embedding for document in documents] == vectors(["Terms apply."] * 3)


async def test_documents_without_a_source_stand_alone(call, embedder, vectors):
    documents = [Document(content="one"), chunk("a"), Document(content="two"), chunk("b", place=1)]
    found = (await call(embedder(), documents=documents))["documents"]
    first, second = vectors(["a", "b"])
    expected = [vectors(["one"])[0], first, vectors(["two"])[0], second]
    assert [document.embedding for document in found] == expected


async def test_documents_without_a_source_can_be_refused(call, embedder):
    stray = Document(id="stray", content="one")
    with pytest.raises(InputError, match=r"'stray'.*source_id") as caught:
        await call(embedder(missing_group="error"), documents=[chunk("a"), stray])
    assert caught.value.key == "stray"


def test_a_source_of_any_name_is_a_source(embedder, vectors):
    given = [chunk("b", 7, 1), chunk("x", "7"), chunk("a", 7, 0)]
    found = embedder().run(given)["documents"]
    first, second = vectors(["a", "b"])
    assert [document.embedding for document in found] == [second, vectors(["x"])[0], first]


@pytest.mark.parametrize("source", [["x"], 7.0, float("nan"), True, ("a", 1), b"a"])
def test_a_source_that_is_no_name_is_refused(embedder, source):
    named = chunk("a", source)
    with pytest.raises(InputError, match=f"is a {type(source).__name__}") as caught:
        embedder().run([chunk("b"), named])
    assert caught.value.key == named.id


def test_another_field_can_name_the_source_and_count_the_chunks(embedder, vectors):
    given = [
        Document(content="b", meta={"file_path": "docs/x.md", "n": 1}),
        Document(content="a", meta={"file_path": "docs/x.md", "n": 0}),
    ]
    found = embedder(source_key="file_path", order_key="n").run(given)["documents"]
    assert [document.embedding for document in found] == vectors(["a", "b"])[::-1]


def test_without_an_order_key_chunks_are_taken_as_they_come(embedder, vectors):
    found = embedder(order_key=None).run([chunk("b", place=1), chunk("a")])["documents"]
    assert [document.embedding for document in found] == vectors(["b", "a"])


@pytest.mark.parametrize(
    ("places", "problem"),
    [
        ([4, 3, 5], "split_id 0 is missing"),
        ([0, 3, 1], "split_id 2 is missing"),
        ([-1, 0, 1], "split_id -1 is one too many"),
        ([None, None, None], "no chunk has a split_id (order_key=None"),
    ],
)
def test_gaps_are_reported_once_with_the_likely_cause(embedder, caplog, places, problem):
    given = [chunk(f"secret {n}", "cut", place) for n, place in enumerate(places)]
    given += [chunk("too", "other", 9), chunk("whole", "whole", 0)]
    with caplog.at_level(logging.WARNING):
        embedder().run(given)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("The chunks of 2 of 3 sources")
    assert f"'cut': {problem}" in message
    assert "two calls" in message
    assert "secret" not in message


def test_chunks_that_name_no_source_are_reported(embedder, caplog):
    given = [Document(content=text, meta={"split_id": n}) for n, text in enumerate("ab")]
    given.append(chunk("c", "named"))
    with caplog.at_level(logging.WARNING):
        embedder().run(given)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("The chunks of 2 of 3 sources")
    assert f"{given[0].id!r}: it has a split_id and no source_id" in message
    assert "source_key" in message


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("file_path", "Its meta has 'file_path': is that meant?"),
        ("file_type", "splitters set 'source_id'"),
    ],
)
async def test_a_source_key_that_no_document_has_is_reported_once(
    call, embedder, caplog, field, hint
):
    given = [
        Document(content="secret", meta={field: "secret.md", "split_id": n}) for n in range(3)
    ]
    with caplog.at_level(logging.WARNING):
        await call(embedder(source_key="filepath"), documents=given)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("None of 3 documents has the source_key 'filepath' in its meta")
    assert hint in message
    assert "secret" not in message


def test_one_document_alone_is_not_reported(embedder, caplog):
    with caplog.at_level(logging.WARNING):
        embedder(source_key="filepath").run([Document(content="a", meta={"file_path": "a"})])
    assert not caplog.records


def test_whole_sources_are_not_reported(embedder, chunks, caplog):
    with caplog.at_level(logging.WARNING):
        embedder().run([*chunks, Document(content="alone")])
    assert not caplog.records


@pytest.mark.parametrize("place", ["1", None, True, [1], math.nan])
def test_places_that_cannot_be_compared_are_refused(embedder, place):
    with pytest.raises(InputError, match=r"'s'.*split_id is a number") as caught:
        embedder().run([chunk("a"), chunk("b", place=place)])
    assert caught.value.key == "s"


@pytest.mark.parametrize("content", ["", " \n", "\0", "\0 \0\n", None])
async def test_empty_content_comes_back_without_a_vector_or_a_size(
    call, embedder, vectors, content, caplog
):
    given = [chunk("a", "one"), chunk("c", "two", 2), chunk(content, "two", 1), chunk("b", "two")]
    with caplog.at_level(logging.WARNING):
        found = (await call(embedder(prefix="passage: "), documents=given))["documents"]
    one, two, blank, first = found
    assert [one.embedding] == vectors(["passage: a"])
    assert [first.embedding, two.embedding] == vectors(["passage: b", "passage: c"])
    keys = {"context_source_key": "source_id", "context_order_key": "split_id"}
    assert blank == replace(given[2], meta=given[2].meta | keys)
    assert [document.meta.get("context_size") for document in found] == [1, 2, None, 2]
    assert [document.id for document in found] == [document.id for document in given]
    (record,) = caplog.records
    assert record.getMessage() == (
        "Chunks without text: 1, of 'two'. They come back without an embedding, and "
        "ContextualDocumentWriter leaves them out."
    )


async def test_an_error_counts_blank_chunks_too(call, embedder):
    meta = {"source_id": "s", "split_id": 2}
    broken = Document(id="no hash", content="b \ud800", meta=meta)
    given = [chunk("", "s"), chunk("a", "s", 1), broken]
    with pytest.raises(InputError, match=r"'s'.*chunk 2: has a lone surrogate") as caught:
        await call(embedder(), documents=given)
    assert (caught.value.key, caught.value.chunk) == ("s", 2)
    found = await call(embedder(raise_on_failure=False), documents=given)
    (failed,) = found["meta"]["failed"]
    assert failed["reason"].startswith("chunk 2: has a lone surrogate")
    assert failed["documents"] == [document.id for document in given]


def test_a_size_from_before_is_replaced(embedder):
    given = [chunk("a", "s", context_size=7), chunk("", "s", 1, context_size=7)]
    found = embedder().run(given)["documents"]
    assert [document.meta.get("context_size") for document in found] == [1, None]


async def test_empty_content_can_be_a_zero_vector(call, embedder, vectors):
    given = [chunk("", place=1), chunk("b", place=2), chunk("a")]
    documents = (await call(embedder(empty="zero"), documents=given))["documents"]
    zero, second, first = (document.embedding for document in documents)
    assert zero == [0.0] * 64
    assert [first, second] == vectors(["a", "b"])


def test_meta_fields_go_before_every_chunk(embedder, vectors):
    given = [
        chunk("b", place=1, title="T", year=None),
        chunk("a", title="T", year=1812, page=3),
    ]
    found = embedder(
        meta_fields_to_embed=["title", "year", "absent"],
        embedding_separator=" | ",
        prefix="<",
        suffix=">",
    ).run(given)["documents"]
    expected = vectors(["<T | 1812 | a>", "<T | b>"])
    assert [document.embedding for document in found] == expected[::-1]


def test_meta_fields_go_once_before_a_source(embedder, vectors):
    given = [chunk("b", place=1, title="T"), chunk("a", title="T")]
    once = embedder(meta_fields_to_embed=["title"], meta_once=True)
    found = once.run(given)["documents"]
    assert [document.embedding for document in found] == vectors(["T\na", "b"])[::-1]


async def test_inputs_stay_as_they_were(call, embedder):
    given = [chunk("a", tags=["x"]), chunk("b", place=1)]
    given.append(Document(id="mine", content="c", meta={"source_id": "s", "split_id": 2}, score=1))
    before = copy.deepcopy(given)
    found = (await call(embedder(), documents=given))["documents"]
    assert given == before
    keys = {"context_source_key": "source_id", "context_order_key": "split_id"}
    stamped = [document.meta | keys | {"context_size": 3} for document in before]
    assert [document.meta for document in found] == stamped
    assert [document.id for document in found] == [document.id for document in before]
    assert found[2].score == 1


def test_an_embedding_from_before_is_replaced(embedder, vectors):
    given = Document(content="a", embedding=[9.0], meta={"source_id": "s", "split_id": 0})
    (found,) = embedder().run([given])["documents"]
    assert found.embedding == vectors(["a"])[0]
    assert given.embedding == [9.0]


def test_vectors_are_python_floats_of_length_one(embedder, chunks):
    for document in embedder().run(chunks)["documents"]:
        assert {type(value) for value in document.embedding} == {float}
        assert math.isclose(sum(value**2 for value in document.embedding), 1, abs_tol=1e-6)
    json.dumps(document.to_dict())


@pytest.mark.parametrize(
    "settings",
    [
        {"normalize": False},
        {"normalize": False, "encoding": "binary"},
        {"encoding": "float", "dimensions": 16},
        {"context_weight": 0.3, "query_prefix": "q: ", "document_prefix": "d: "},
        {"window_tokens": 12, "overlap_tokens": 4, "batch_tokens": 16},
    ],
)
async def test_settings_are_those_of_the_core(call, embedder, vectors, settings):
    texts = [f"The king has {number} sons." for number in range(9)]
    given = [chunk(text, place=place) for place, text in enumerate(texts)]
    found = (await call(embedder(**settings), documents=given[::-1]))["documents"][::-1]
    assert [document.embedding for document in found] == vectors(texts, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"missing_group": "eror"}, "missing_group is one of 'single', 'error', got 'eror'"),
        ({"source_key": "meta.file_path"}, "source_key names one field .*without"),
        ({"source_key": None}, "source_key names one field"),
        ({"order_key": "file.part"}, "order_key names one field"),
        ({"order_key": ""}, "order_key names one field"),
        ({"meta_fields_to_embed": "title"}, "meta_fields_to_embed is a list"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(embedder, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        embedder(**settings)


def test_packed_bits_are_refused(tiny):
    for component in (ContextualDocumentEmbedder, ContextualTextEmbedder):
        with pytest.raises(ConfigurationError, match='encoding="binary"'):
            component(**tiny, encoding="ubinary", normalize=False)


def test_a_chunk_beyond_the_model_names_its_source(embedder):
    given = [chunk("a", "short"), chunk("word " * 40_000, "long")]
    with pytest.raises(DocumentTooLongError) as caught:
        embedder().run(given)
    assert caught.value.key == "long"


@pytest.mark.parametrize("given", ["text", [Document(content="a"), "text"], None, (), {}])
async def test_anything_but_a_list_of_documents_is_a_type_error(call, embedder, given):
    with pytest.raises(TypeError, match="list of Documents"):
        await call(embedder(), documents=given)


async def test_no_documents_are_no_work(call, embedder):
    found = await call(embedder(), documents=[])
    assert found["documents"] == []
    assert found["meta"]["usage"]["total_tokens"] == 0


async def test_meta_says_which_model_and_how_much(call, embedder, tiny, chunks):
    meta = (await call(embedder(), documents=chunks))["meta"]
    assert meta.keys() == {"model", "usage"}
    assert meta["model"] == tiny["model"]
    assert meta["usage"]["total_tokens"] == meta["usage"]["prompt_tokens"] > len(chunks)
    assert meta["usage"]["requests"] >= 1


async def test_progress_is_shown_on_request(call, embedder, chunks, capsys):
    for settings in ({}, {"raise_on_failure": False}):
        await call(embedder(progress_bar=True, **settings), documents=chunks)
        bar = capsys.readouterr().err
        assert re.search(r"3/3 documents, 9 chunks, \d+ tokens, [\d,]+ tokens/s", bar)
    await call(embedder(), documents=chunks)
    assert capsys.readouterr().err == ""


async def test_a_query_is_embedded_alone(call, tiny, vectors):
    embedder = ContextualTextEmbedder(**tiny, prefix="q: ", suffix="?")
    found = await call(embedder, text="Who fell ill")
    assert found["embedding"] == vectors(["q: Who fell ill?"])[0]
    assert {type(value) for value in found["embedding"]} == {float}
    assert found["meta"]["model"] == tiny["model"]
    assert found["meta"]["usage"]["total_tokens"] > 0


async def test_a_query_without_text_is_an_error(call, tiny):
    with pytest.raises(EmptyChunkError, match="Query"):
        await call(ContextualTextEmbedder(**tiny, prefix="q: "), text=" ")


async def test_a_query_that_is_no_string_is_a_type_error(call, tiny):
    with pytest.raises(TypeError, match="ContextualDocumentEmbedder"):
        await call(ContextualTextEmbedder(**tiny), text=[Document(content="a")])
