"""`ContextualEmbeddings`: values, settings, secrets, copies, and what a flat call means."""

import copy
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import SecretStr, ValidationError

from ctxembed import Embedder, EmptyChunkError, InputError, Settings
from langchain_ctxembed import ContextualEmbeddings, ContextualVectorStore, stamp_context

DOCUMENTS = [["It was founded in 1897.", "It grew."], ["Rivers freeze."]]
KEYS = ("PERPLEXITY_API_KEY", "PPLX_API_KEY", "PERPLEXITYAI_API_KEY")


@pytest.fixture
def no_keys(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def close(one, other):
    return np.allclose(one, other, atol=0.02)


def test_contexts_are_what_the_core_gives(embeddings, pplx_checkpoint):
    core = Embedder.open(model=str(pplx_checkpoint), normalize=True).embed_documents(DOCUMENTS)
    given = embeddings.embed_contexts(DOCUMENTS)
    assert all(close(a, b) for a, b in zip(given, core, strict=True))
    assert type(given[0][0][0]) is float


async def test_async_gives_the_same(embeddings):
    given = await embeddings.aembed_contexts(DOCUMENTS)
    expected = embeddings.embed_contexts(DOCUMENTS)
    assert all(close(a, b) for a, b in zip(given, expected, strict=True))
    assert close(await embeddings.aembed_query("grew?"), embeddings.embed_query("grew?"))
    flat = await embeddings.aembed_documents(DOCUMENTS[0])
    assert close(flat, embeddings.embed_documents(DOCUMENTS[0]))


async def test_async_takes_the_cores_async_way_and_loads_no_weights_on_the_loop(
    pplx_checkpoint, monkeypatch, registry
):
    threads = []
    real = Embedder.open.__func__

    def opened(*given, **options):
        threads.append(threading.current_thread())
        return real(*given, **options)

    monkeypatch.setattr(Embedder, "open", classmethod(opened))
    for name in ("embed_documents", "embed_queries", "embed_query", "stream"):
        monkeypatch.setattr(Embedder, name, lambda *_, name=name, **__: pytest.fail(name))
    made = ContextualEmbeddings(model=str(pplx_checkpoint))
    assert len(await made.aembed_query("grew?")) == 64
    assert len(await made.aembed_documents(["alone"])) == 1
    assert len(await made.aembed_contexts(DOCUMENTS)) == 2
    store = ContextualVectorStore(InMemoryVectorStore(made), registry=registry)
    await store.aadd_texts(["one", "other"])
    assert len(await store.asimilarity_search("one", k=1)) == 1
    built = await ContextualVectorStore.afrom_texts(["a"], made, store_cls=InMemoryVectorStore)
    assert len(built.store.store) == 1
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_texts_of_a_flat_call_are_independent(embeddings):
    together = embeddings.embed_documents(DOCUMENTS[0])
    alone = [embeddings.embed_documents([text])[0] for text in DOCUMENTS[0]]
    assert close(together, alone)
    assert not close(together, embeddings.embed_contexts(DOCUMENTS[:1])[0])


def test_rows_have_length_one_unless_told_otherwise(embeddings):
    assert np.linalg.norm(embeddings.embed_query("grew?")) == pytest.approx(1, abs=1e-5)
    raw = embeddings.model_copy(update={"normalize": False}).embed_query("grew?")
    assert all(value == int(value) for value in raw)
    assert np.abs(raw).max() > 1


def test_no_texts_give_no_vectors(embeddings):
    assert embeddings.embed_documents([]) == []
    assert embeddings.embed_contexts([]) == []


def test_one_string_is_no_list_of_texts(embeddings):
    with pytest.raises(InputError, match="got one string"):
        embeddings.embed_documents("a text")


def test_an_empty_text_is_refused_or_zero_as_set(embeddings):
    with pytest.raises(EmptyChunkError):
        embeddings.embed_documents(["fine", " "])
    zero = embeddings.model_copy(update={"empty": "zero"})
    assert set(zero.embed_documents(["fine", " "])[1]) == {0.0}


def test_the_defaults_are_those_of_the_settings(no_keys):
    assert ContextualEmbeddings().settings == Settings(normalize=True)


def test_fingerprint_loads_nothing_and_follows_the_settings(fake):
    plain = ContextualEmbeddings(model="minilm")
    assert plain.fingerprint == Settings(model="minilm", normalize=True).fingerprint()
    assert plain.fingerprint != plain.model_copy(update={"dimensions": 64}).fingerprint
    assert not plain._embedder._found


@pytest.mark.parametrize(
    "wrong", [{"modell": "minilm"}, {"model": ""}, {"encoding": "ubinary"}, {"dimensions": 0}]
)
def test_wrong_settings_are_refused_without_showing_the_key(wrong):
    with pytest.raises(ValidationError) as caught:
        ContextualEmbeddings(api_key="very-secret", **wrong)
    assert "very-secret" not in str(caught.value) + repr(caught.value)


def test_the_object_does_not_change_under_those_who_use_it(embeddings):
    with pytest.raises(ValidationError, match="frozen"):
        embeddings.dimensions = 8


def test_the_key_is_hidden_and_not_pickled(no_keys, monkeypatch):
    made = ContextualEmbeddings(model="minilm", api_key="very-secret")
    assert made.api_key == SecretStr("very-secret")
    assert "very-secret" not in repr(made) + str(made) + repr(made.model_dump())
    assert b"very-secret" not in pickle.dumps(made)
    assert copy.deepcopy(made).api_key == made.api_key
    monkeypatch.setenv("PPLX_API_KEY", "key of the other process")
    read = pickle.loads(pickle.dumps(made))
    assert read.api_key == SecretStr("key of the other process")
    assert read.settings == made.settings


def test_copies_and_pickles_embed_alike(embeddings):
    expected = embeddings.embed_query("grew?")
    copies = [
        pickle.loads(pickle.dumps(embeddings)),
        copy.copy(embeddings),
        copy.deepcopy(embeddings),
        embeddings.model_copy(),
    ]
    assert all(close(other.embed_query("grew?"), expected) for other in copies)
    assert all(other == embeddings for other in copies)


def test_a_changed_copy_does_not_answer_with_the_old_settings(embeddings):
    embeddings.embed_query("grew?")
    shorter = embeddings.model_copy(update={"dimensions": 8})
    assert (len(shorter.embed_query("grew?")), len(embeddings.embed_query("grew?"))) == (8, 64)


def test_weights_are_opened_once_by_many_threads(pplx_checkpoint, monkeypatch):
    opened = []
    real = Embedder.open.__func__
    monkeypatch.setattr(
        Embedder, "open", classmethod(lambda *a, **k: (opened.append(1), real(*a, **k))[1])
    )
    made = ContextualEmbeddings(model=str(pplx_checkpoint))
    assert not opened
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(made.embed_query, ["grew?"] * 16))
    assert len(opened) == 1
    assert all(close(row, rows[0]) for row in rows)


def test_flat_texts_are_warned_about_once(fake, caplog):
    embeddings, _ = fake()
    embeddings.embed_documents(["alone"])
    embeddings.embed_query("alone")
    assert not caplog.records
    embeddings.embed_documents(["private one", "private two"])
    embeddings.embed_documents(["private one", "private two"])
    assert [record.name for record in caplog.records] == ["langchain_ctxembed.embeddings"]
    assert "ContextualVectorStore" in caplog.text
    assert "private" not in caplog.text


def test_settings_are_checked_once_and_are_those_of_the_copy():
    embeddings = ContextualEmbeddings(model="minilm")
    assert embeddings.settings is embeddings.settings
    shorter = embeddings.model_copy(update={"dimensions": 8})
    assert (shorter.settings.dimensions, embeddings.settings.dimensions) == (8, None)
    assert pickle.loads(pickle.dumps(embeddings)).settings == embeddings.settings
    assert "settings" not in embeddings.model_dump()


async def test_a_bar_counts_the_documents_chunks_and_tokens_of_a_call(fake, registry, capsys):
    embeddings, _ = fake(show_progress=True)
    quiet, _ = fake()
    chunks = [
        chunk
        for source in ("x", "y", "z")
        for chunk in stamp_context(
            [Document(page_content=f"{source} {n}") for n in range(2)],
            source_id=source,
            registry=registry,
        )
    ]
    store = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)

    def drawn(result=None):
        bars = capsys.readouterr().err
        assert re.search(r"3/3 documents, [36] chunks, \d+ tokens, [\d,]+ tokens/s", bars)
        return result

    one = drawn(embeddings.embed_contexts([["a", "b"]] * 3))
    assert one == drawn(await embeddings.aembed_contexts([["a", "b"]] * 3))
    assert one == quiet.embed_contexts([["a", "b"]] * 3)
    drawn(embeddings.embed_documents(["a"] * 3))
    drawn(await embeddings.aembed_documents(["a"] * 3))
    drawn(store.add_documents(chunks))
    drawn(await store.aadd_documents(chunks))
    store.add_documents([])
    embeddings.embed_query("a")
    assert capsys.readouterr().err == ""


def test_a_bar_changes_no_setting_and_no_fingerprint(fake):
    shown, quiet = ContextualEmbeddings(model="minilm", show_progress=True), fake()[0]
    assert shown.settings == quiet.settings
    assert ContextualVectorStore(InMemoryVectorStore(shown), quiet).embeddings is shown
    assert pickle.loads(pickle.dumps(shown)).show_progress
