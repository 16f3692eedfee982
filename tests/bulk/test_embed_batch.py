"""`EmbedBatch`: vectors and errors by value, for every kind of batch, and what pickles of it."""

import copy
import pickle

import numpy as np
import pyarrow as pa
import pytest
from bulk_files import documents

from ctxembed import AuthenticationError, ConfigurationError, Embedder, Settings, embedder
from ctxembed.bulk import EmbedBatch, embed_batch
from ctxembed.lazy import LazyEmbedder
from ctxembed.testing import FakeBackend

CHUNKS = [each["chunks"] for each in documents(6)]
BAD = [["x", " "], [], None, ["word " * 1001]]


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch):
    monkeypatch.setattr(embed_batch, "_OPEN", LazyEmbedder())


def table(chunks=CHUNKS, **columns):
    return pa.table({"chunks": pa.array(chunks, pa.list_(pa.string())), **columns})


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, pa.int8()),
        ({"encoding": "binary"}, pa.int8()),
        ({"encoding": "ubinary"}, pa.uint8()),
        ({"encoding": "float", "dimensions": 5}, pa.float32()),
        ({"normalize": True}, pa.float32()),
    ],
)
def test_vectors_are_those_of_the_embedder(backend, settings, kind):
    found = EmbedBatch(**settings)(table())

    rows = Embedder(FakeBackend(), Settings(**settings)).embed_documents(CHUNKS)
    assert found["embeddings"].type == pa.list_(pa.list_(kind))
    assert found["embeddings"].to_pylist() == [each.tolist() for each in rows]
    assert found["error"].to_pylist() == [None] * 6


def test_what_cannot_be_embedded_is_null_with_its_reason(backend):
    found = EmbedBatch()(table([*BAD, *CHUNKS]))
    errors = found["error"].to_pylist()

    rows = Embedder(FakeBackend()).embed_documents(CHUNKS)
    assert found["embeddings"].to_pylist() == [None] * 4 + [each.tolist() for each in rows]
    assert errors[4:] == [None] * 6
    assert errors[0].startswith("Document 0, chunk 1: is empty or only whitespace.")
    assert errors[1].startswith("Document 1: has no chunks.")
    assert errors[2].startswith("Document 2: a document is a list of chunks, got NoneType.")
    assert errors[3].startswith("Document 3, chunk 0: has 1001 tokens")


def test_batch_of_errors_only_has_the_same_type(backend):
    found = EmbedBatch()(table(BAD))

    assert found["embeddings"].type == EmbedBatch().type
    assert found["embeddings"].to_pylist() == [None] * 4


def test_other_columns_stay_and_those_of_the_same_name_are_replaced(backend):
    embed = EmbedBatch(out="v", error="why")
    twice = embed(embed(table(id=pa.array(range(6)))))

    assert twice.schema.names == ["chunks", "id", "v", "why"]
    assert twice["id"].to_pylist() == [*range(6)]


def test_record_batch_gives_a_record_batch(backend):
    (batch,) = table().to_batches()
    found = EmbedBatch()(batch)

    assert isinstance(found, pa.RecordBatch)
    assert found.equals(EmbedBatch()(table()).to_batches()[0])


def test_empty_batch_opens_no_model_and_has_the_same_type(monkeypatch):
    monkeypatch.setattr(embedder, "open_backend", None)
    found = EmbedBatch()(table([]))

    assert len(found) == 0
    assert found.schema.field("embeddings").type == pa.list_(pa.list_(pa.int8()))


def test_large_lists_and_slices_are_read_as_they_are(backend):
    kind = pa.large_list(pa.large_string())
    given = pa.table({"chunks": pa.array(CHUNKS, kind)}).slice(2, 3)
    found = EmbedBatch()(given)

    assert (
        found["embeddings"].to_pylist() == (EmbedBatch()(table())["embeddings"].to_pylist()[2:5])
    )


def test_data_frame_keeps_its_index(backend):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"chunks": CHUNKS}, index=[*"uvwxyz"])
    found = EmbedBatch()(frame)

    assert list(found.index) == [*"uvwxyz"]
    assert [list(map(list, rows)) for rows in found["embeddings"]] == (
        EmbedBatch()(table())["embeddings"].to_pylist()
    )


@pytest.mark.parametrize("again", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_copies_hold_no_model_and_share_the_one_of_their_process(monkeypatch, again):
    opened = []

    def open_backend(*_):
        opened.append(FakeBackend())
        return opened[-1]

    monkeypatch.setattr(embedder, "open_backend", open_backend)
    embed = EmbedBatch(dimensions=8)
    first = embed(table())
    copied = again(embed)

    assert copied(table()).equals(first)
    assert len(opened) == 1
    assert len(pickle.dumps(embed)) < 2000
    assert copied.settings == Settings(dimensions=8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pa.table({"text": ["x"]}), "there is no column 'chunks' in \\['text'\\]"),
        (pa.table({"chunks": ["x"]}), "column 'chunks' holds strings"),
    ],
)
def test_wrong_column_raises(backend, given, message):
    with pytest.raises(ConfigurationError, match=message):
        EmbedBatch()(given)


def test_wrong_settings_raise_at_once():
    with pytest.raises(ConfigurationError, match="Did you mean 'encoding'"):
        EmbedBatch(encodin="int8")


def test_failing_key_raises(monkeypatch):
    def refuse(_):
        raise AuthenticationError("the key is wrong.")

    monkeypatch.setattr(embedder, "open_backend", lambda *_: FakeBackend(fault=refuse))
    with pytest.raises(AuthenticationError):
        EmbedBatch()(table())


def test_batches_have_the_rows_of_one_call(backend):
    given, embed = table(), EmbedBatch()
    parts = pa.concat_tables([embed(given.slice(n, 2)) for n in range(0, 6, 2)])

    assert np.array_equal(parts["embeddings"].to_pylist(), embed(given)["embeddings"].to_pylist())
