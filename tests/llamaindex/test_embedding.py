"""`ContextualEmbedding` by itself: settings, queries, flat texts, nodes, events, secrets."""

import asyncio
import copy
import json
import logging
import pickle
import threading

import numpy as np
import pytest
from llama_index.core import Document
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.schema import MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from pydantic import ValidationError
from settings_values import VALUES

from ctxembed import (
    BackendError,
    DocumentTooLongError,
    Embedder,
    EmptyChunkError,
    NonFiniteError,
    Settings,
)
from llama_index.embeddings.ctxembed import ContextualEmbedding

SETTINGS = VALUES | {"normalize": False}
CHANGES = {
    "model_name": SETTINGS.pop("model"),
    **SETTINGS,
    "metadata_mode": MetadataMode.LLM,
    "metadata_once": True,
    "missing_siblings": "ignore",
    "embed_batch_size": 5,
}


def node(text, key=None, start=None, **metadata):
    source = {} if key is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=key)}
    return TextNode(text=text, relationships=source, start_char_idx=start, metadata=metadata)


def test_is_an_embedding_of_llamaindex():
    assert "BaseEmbedding" in [base.__name__ for base in ContextualEmbedding.__mro__]
    assert issubclass(ContextualEmbedding, BaseEmbedding)
    assert ContextualEmbedding.class_name() == "ContextualEmbedding"


def test_the_defaults_are_those_of_the_settings():
    assert ContextualEmbedding().settings == Settings(normalize=True)


CACHE = {"cache", "cache_bytes"}


@pytest.mark.parametrize("name", sorted(CHANGES.keys() - CACHE))
def test_every_field_is_in_the_dict_comes_back_and_survives_pickling(name):
    given = ContextualEmbedding(**{name: CHANGES[name]})
    assert given.to_dict()[name] == CHANGES[name] != ContextualEmbedding().to_dict()[name]
    for again in (
        ContextualEmbedding.from_dict(given.to_dict()),
        ContextualEmbedding.from_json(given.to_json()),
        pickle.loads(pickle.dumps(given)),
        copy.deepcopy(given),
    ):
        assert again.to_dict() == given.to_dict()
        assert again.settings == given.settings


def test_the_cache_is_in_no_dict_and_survives_pickling():
    """LlamaIndex hashes the dict to see whether a pipeline is the same; a worker has the cache."""
    given = ContextualEmbedding(**{name: CHANGES[name] for name in CACHE})
    assert given.to_dict() == ContextualEmbedding().to_dict()
    assert pickle.loads(pickle.dumps(given)).settings == given.settings


def test_no_field_is_untried():
    base = {"callback_manager", "num_workers", "embeddings_cache", "rate_limiter", "api_key"}
    base |= {"show_progress"}  # in no dict: test_progress.py
    assert set(ContextualEmbedding.model_fields) - base == set(CHANGES)


def test_weights_that_changed_in_place_change_the_dict(pplx_checkpoint, tmp_path):
    from checkpoints import copy_of

    checkpoint = copy_of(pplx_checkpoint, tmp_path / "model")
    given = ContextualEmbedding(model_name=str(checkpoint))
    before = given.to_dict()
    weights = bytearray((checkpoint / "model.safetensors").read_bytes())
    weights[-4000:] = bytes(4000)
    (checkpoint / "model.safetensors").write_bytes(weights)
    assert given.to_dict() != before


def test_a_key_is_in_no_dict_pickle_repr_payload_or_event_and_is_passed_to_open(monkeypatch):
    given = ContextualEmbedding(api_key="pplx-secret-1")
    for shown in (given.to_dict(), given.to_payload(), given, given.model_dump(), given.to_json()):
        assert "secret" not in f"{shown} {shown!r}"
    assert b"secret" not in pickle.dumps(given)
    assert pickle.loads(pickle.dumps(given)).api_key is None
    asked = []

    def opened(settings, **keywords):
        asked.append(keywords)
        raise BackendError("no backend here")

    monkeypatch.setattr(Embedder, "open", opened)
    for model in (given, copy.deepcopy(given), ContextualEmbedding()):
        with pytest.raises(BackendError):
            model.get_query_embedding("a")
    with pytest.raises(ValidationError) as info:
        ContextualEmbedding(api_key="pplx-secret-1", dimensions=0)
    assert "secret" not in str(info.value)
    assert asked == [{"api_key": "pplx-secret-1"}, {"api_key": "pplx-secret-1"}, {"api_key": None}]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dimension": 8}, "not permitted"),
        ({"dimensions": 0}, "dimensions is a whole number"),
        ({"encoding": "binary"}, "leave normalize off"),
        ({"encoding": "ubinary"}, "'int8', 'binary' or 'float'"),
        ({"embeddings_cache": SimpleKVStore()}, "embeddings_cache finds vectors by a text alone"),
    ],
)
def test_what_no_model_could_take_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        ContextualEmbedding(**wrong)
    name, value = next(iter(wrong.items()))
    given = ContextualEmbedding()
    with pytest.raises(ValueError, match=said if name != "dimension" else "dimension"):
        setattr(given, name, value)


def test_a_setting_changed_later_counts_for_the_model_and_not_for_its_copy(embedding):
    changed = embedding.model_copy(update={"dimensions": 8})
    assert len(embedding.get_query_embedding("a river")) == 64
    assert len(changed.get_query_embedding("a river")) == 8
    changed.dimensions = 16
    assert len(changed.get_query_embedding("a river")) == 16
    assert len(embedding.get_query_embedding("a river")) == 64


def test_threads_open_one_embedder(monkeypatch, embedding):
    opened = []
    real = Embedder.open.__func__
    monkeypatch.setattr(
        Embedder,
        "open",
        classmethod(lambda cls, *a, **k: (opened.append(1), real(cls, *a, **k))[1]),
    )
    given = copy.deepcopy(embedding)
    threads = [threading.Thread(target=given.get_query_embedding, args=("a",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [1]


def test_closing_lets_go_and_the_next_use_opens_anew(fake):
    given = ContextualEmbedding(model_name="fake")
    before = given.get_query_embedding("a")
    given.close()
    given.close()
    assert fake.closed == 1
    assert given.get_query_embedding("a") == before


async def test_queries_and_flat_texts_are_independent(embedding, contextual, is_right):
    texts = ["The king fell ill.", "He sent for his sons.", "The king fell ill."]
    right = [contextual([text])[0] for text in texts]
    for rows in (
        embedding.get_text_embedding_batch(texts),
        await embedding.aget_text_embedding_batch(texts),
        [embedding.get_text_embedding(text) for text in texts],
        [await embedding.aget_text_embedding(text) for text in texts],
        [embedding.get_query_embedding(text) for text in texts],
        [await embedding.aget_query_embedding(text) for text in texts],
    ):
        assert all(is_right(row, one) for row, one in zip(rows, right, strict=True))
        assert all(isinstance(value, float) for row in rows for value in row)
        assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-6)
    mean = embedding.get_agg_embedding_from_queries(texts[:2])
    assert np.allclose(mean, np.mean(right[:2], axis=0), atol=0.02)


def test_flat_texts_of_one_call_are_warned_about_once(embedding, caplog):
    given = copy.deepcopy(embedding)
    with caplog.at_level(logging.WARNING):
        given.get_text_embedding("one")
        assert caplog.messages == []
        given.get_text_embedding_batch(["one", "two"])
        given.get_text_embedding_batch(["one", "two"])
    assert len(caplog.messages) == 1
    assert "without context" in caplog.messages[0]
    assert "two" not in caplog.messages[0]


@pytest.mark.parametrize("is_async", [False, True])
async def test_nodes_get_the_vectors_of_their_document_and_come_back_as_they_went(
    embedding, contextual, is_right, is_async
):
    given = [
        node("b2", "b", 10),
        node("alone"),
        node("a1", "a", 0),
        node("b1", "b", 0),
        node("a1", "a", 5),
        node("alone"),
    ]
    result = await embedding.acall(given) if is_async else embedding(given)
    assert result is given
    right = {"a": contextual(["a1", "a1"]), "b": contextual(["b1", "b2"])}
    alone = contextual(["alone"])[0]
    expected = [right["b"][1], alone, right["a"][0], right["b"][0], right["a"][1], alone]
    for each, row in zip(given, expected, strict=True):
        assert is_right(each.embedding, row)


def test_an_embedding_that_is_there_is_overwritten(embedding, contextual, is_right):
    given = [node("a1", "a", 0), node("a2", "a", 4)]
    given[0].embedding = [0.0] * 64
    embedding(given)
    assert is_right(given[0].embedding, contextual(["a1", "a2"])[0])


async def test_no_nodes_open_nothing():
    given = ContextualEmbedding(model_name="/nowhere")
    assert given([]) == await given.acall([]) == []


def test_foreign_keyword_arguments_are_ignored_and_progress_is_drawn(embedding, capsys):
    embedding([node("a")], embed_model=object(), insert_batch_size=3, storage_context=None)
    assert capsys.readouterr().err == ""
    embedding([node("a")], show_progress=True)
    assert "1/1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "texts"),
    [
        (MetadataMode.EMBED, ["title: T\n\na", "title: T\n\nb"]),
        (MetadataMode.LLM, ["page: 1\ntitle: T\n\na", "page: 2\ntitle: T\n\nb"]),
        (MetadataMode.NONE, ["a", "b"]),
        (MetadataMode.ALL, ["page: 1\ntitle: T\n\na", "page: 2\ntitle: T\n\nb"]),
    ],
)
def test_metadata_mode_decides_what_the_model_reads(embedding, contextual, is_right, mode, texts):
    given = [node("a", "x", 0, page=1, title="T"), node("b", "x", 1, page=2, title="T")]
    for each in given:
        each.excluded_embed_metadata_keys = ["page"]
    embedding.model_copy(update={"metadata_mode": mode})(given)
    for each, right in zip(given, contextual(texts), strict=True):
        assert is_right(each.embedding, right)


def test_shared_metadata_is_read_once_as_a_chunk_in_front(embedding, contextual, is_right):
    once = embedding.model_copy(update={"metadata_once": True, "metadata_mode": MetadataMode.LLM})
    given = [node("a", "x", 0, page=1, title="T"), node("b", "x", 1, page=2, title="T")]
    bare = [node("c", "y", 0), node("d", "y", 1)]
    once([*given, *bare])
    right = contextual(["title: T", "page: 1\n\na", "page: 2\n\nb"])[1:]
    for each, row in zip([*given, *bare], [*right, *contextual(["c", "d"])], strict=True):
        assert is_right(each.embedding, row)


def test_metadata_that_only_some_may_read_is_not_shared(embedding, contextual, is_right):
    once = embedding.model_copy(update={"metadata_once": True})
    given = [node("a", "x", 0, title="T"), node("b", "x", 1, title="T")]
    given[0].excluded_embed_metadata_keys = ["title"]
    once(given)
    for each, row in zip(given, contextual(["a", "title: T\n\nb"]), strict=True):
        assert is_right(each.embedding, row)


@pytest.mark.parametrize("once", [False, True])
def test_an_error_names_the_document_and_holds_no_text(embedding, once):
    strict = embedding.model_copy(
        update={"metadata_once": once, "metadata_mode": MetadataMode.NONE if not once else "embed"}
    )
    given = [node("fine", "good", 0), node("x", "bad", 0, t="T"), node(" ", "bad", 1, t="T")]
    with pytest.raises(
        EmptyChunkError, match=r"Document 1 \('bad'\), chunk 1.*empty=.zero."
    ) as info:
        strict(given)
    assert info.value.key == "bad"
    assert all(each.embedding is None for each in given)
    with pytest.raises(EmptyChunkError) as info:
        strict([alone := node("")])
    assert info.value.key == alone.node_id


def test_a_chunk_beyond_the_model_names_its_document(fake):
    given = ContextualEmbedding(model_name="fake")
    with pytest.raises(DocumentTooLongError) as info:
        given([node("ok", "a"), node("word " * 1001, "b")])
    assert info.value.key == "b"


def test_a_fault_of_the_model_names_its_document_and_leaves_all_nodes(monkeypatch, fake):
    def fault(batch):
        if any("bad" in chunk.text for window in batch.windows for chunk in window.chunks):
            raise NonFiniteError

    fake._fault = fault
    nodes = [node("ok", "a"), node("bad", "b"), node("ok", "c")]
    with pytest.raises(NonFiniteError) as info:
        ContextualEmbedding(model_name="fake")(nodes)
    assert info.value.key == "b"
    assert all(each.embedding is None for each in nodes)


def test_all_documents_go_to_the_core_in_one_call(fake):
    ContextualEmbedding(model_name="fake")([node(f"t{n}", f"d{n % 40}", n) for n in range(400)])
    assert len(fake.windows) == 40
    assert len(fake.batches) == 1


async def test_async_calls_leave_the_event_loop_free(fake, monkeypatch):
    slow = threading.Event()
    waiting = threading.Semaphore(0)
    real = ContextualEmbedding._inputs

    def hold():
        assert threading.current_thread() is not threading.main_thread()
        waiting.release()
        assert slow.wait(30)

    def read(self, nodes):
        hold()
        return real(self, nodes)

    monkeypatch.setattr(ContextualEmbedding, "_inputs", read)
    fast = Embedder.open
    monkeypatch.setattr(Embedder, "open", lambda *a, **k: (hold(), fast(*a, **k))[1])
    given = ContextualEmbedding(model_name="fake")
    tasks = [
        asyncio.create_task(given.acall([node("a", "x")])),
        asyncio.create_task(given.aget_query_embedding("a")),
        asyncio.create_task(given.aget_text_embedding_batch(["a", "b"])),
    ]
    for _ in range(2):  # nodes are read, and the model is opened for the others
        assert await asyncio.to_thread(waiting.acquire, timeout=30)
    assert not any(task.done() for task in tasks)
    slow.set()
    await asyncio.gather(*tasks)


async def test_the_rate_limiter_is_asked_once_a_document(fake):
    class Limiter(BaseRateLimiter):
        asked = 0

        def acquire(self, num_tokens=0):
            Limiter.asked += 1

        async def async_acquire(self, num_tokens=0):
            Limiter.asked += 10

    given = ContextualEmbedding(model_name="fake", rate_limiter=Limiter())
    given([node("a", "x"), node("b", "y"), node("c", "y")])
    await given.acall([node("a", "x")])
    assert Limiter.asked == 12


def test_binary_and_raw_codes_can_be_had(embedding, contextual):
    texts = [node("a1", "a", 0), node("a2", "a", 4)]
    embedding.model_copy(update={"encoding": "binary", "normalize": False})(texts)
    assert {abs(value) for each in texts for value in each.embedding} == {1.0}
    embedding.model_copy(update={"normalize": False})(texts)
    codes = np.array([each.embedding for each in texts])
    assert (codes == np.rint(codes)).all()
    assert np.abs(codes).max() > 1
    json.dumps([each.embedding for each in texts])


def test_a_document_given_unsplit_is_embedded_alone(embedding, contextual, is_right, documents):
    embedding(documents[:2])
    right = contextual([documents[0].get_content(MetadataMode.EMBED)])[0]
    assert is_right(documents[0].embedding, right)
    assert isinstance(documents[0], Document)
