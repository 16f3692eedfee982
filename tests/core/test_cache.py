"""The cache of vectors: rows are those that no cache gives, whatever happens to it."""

import asyncio
import gc
import logging
import os
import pickle
import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from ctxembed import (
    ConfigurationError,
    DocumentTooLongError,
    Embedder,
    EmptyChunkError,
    Limits,
    ModelSpec,
    RateLimitError,
    Settings,
)
from ctxembed.backends.identity import ModelIdentity
from ctxembed.cache import sqlite_cache, sqlite_file
from ctxembed.cache.document_cache import DocumentCache
from ctxembed.cache.sqlite_cache import SqliteCache
from ctxembed.cache.sqlite_file import FILE_NAME, clear, connect, contents, shrink
from ctxembed.documents import TokenizedChunk
from ctxembed.testing import FakeBackend

WORDS = st.sampled_from(["alpha", "beta", "gamma", "delta"])
CHUNK = st.one_of(st.lists(WORDS, min_size=1, max_size=6).map(" ".join), st.just(" "))
DOCUMENTS = st.lists(st.lists(CHUNK, min_size=1, max_size=4), min_size=1, max_size=6)
SPEC = ModelSpec(name="m", dimensions=24, max_tokens=60, window_tokens=12, overlap_share=0.5)
TANH = replace(SPEC, quantizer="tanh")
RECIPES = st.fixed_dictionaries(
    {
        "encoding": st.sampled_from(["int8", "binary", "ubinary", "float"]),
        "dimensions": st.sampled_from([None, 8, 11]),
        "context_weight": st.sampled_from([None, 0, 1, 0.25]),
        "neighbour_weight": st.sampled_from([None, 0, 0.5]),
        "window_tokens": st.sampled_from([None, 5, 20]),
        "overlap_tokens": st.sampled_from([None, 1]),
        "document_prefix": st.sampled_from([None, "passage: "]),
        "long_chunks": st.sampled_from(["error", "pool"]),
        "empty": st.just("zero"),
    }
)


def texts(count, words=12):
    return [[f"document {n} {word}" for word in range(words // 3)] for n in range(count)]


def cached(folder, backend=None, **given):
    return Embedder(backend or FakeBackend(), Settings(cache=str(folder), **given))


def plain(documents, backend=None, **given):
    return Embedder(backend or FakeBackend(), Settings(**given)).embed_documents(documents)


def assert_rows(expected, actual):
    assert len(expected) == len(actual)
    for one, two in zip(expected, actual, strict=True):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(DOCUMENTS, RECIPES, st.sampled_from([SPEC, TANH]), st.integers(8, 60)),
        min_size=1,
        max_size=4,
    )
)
def test_any_history_gives_the_rows_of_no_cache(tmp_path_factory, history):
    """Documents, edits and settings follow each other over one folder, each call twice."""
    folder = tmp_path_factory.mktemp("cache")
    for given_documents, recipe, spec, batch_tokens in history:
        documents = given_documents
        if recipe["encoding"] == "ubinary":
            documents = [
                [chunk for chunk in each if chunk.strip()] or ["alpha"] for each in documents
            ]
        limits = Limits(batch_tokens=batch_tokens)
        expected = plain(documents, FakeBackend(spec), **recipe)
        for _ in range(2):
            backend = FakeBackend(spec, limits)
            with cached(folder, backend, **recipe) as embedder:
                assert_rows(expected, embedder.embed_documents(documents))
        assert not backend.batches
        assert embedder.usage.cached_documents == sum(
            any(chunk.strip() for chunk in each) for each in documents
        )


ANSWER = """
import pickle, sys
from ctxembed import Embedder, Limits, Settings
from ctxembed.testing import FakeBackend

while True:
    folder, documents, recipe, spec, batch_tokens = pickle.load(sys.stdin.buffer)
    backend = FakeBackend(spec, Limits(batch_tokens=batch_tokens))
    with Embedder(backend, Settings(cache=folder, **recipe)) as embedder:
        pickle.dump(embedder.embed_documents(documents), sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


@pytest.fixture(scope="module")
def programs():
    """Give three running programs that embed over a cache what comes by their input."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", ANSWER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
            )
            for _ in range(3)
        ]
        for program in started:
            stack.callback(program.kill)
        yield started


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sets(st.integers(0, 2), min_size=1),
            DOCUMENTS,
            RECIPES.filter(lambda recipe: recipe["encoding"] != "ubinary"),
            st.sampled_from([SPEC, TANH]),
            st.integers(8, 60),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_history_of_processes_gives_the_rows_of_no_cache(tmp_path_factory, programs, history):
    """Each step goes to one process, or to several at once; all share one folder."""
    folder = str(tmp_path_factory.mktemp("cache"))
    for numbers, documents, recipe, spec, batch_tokens in history:
        asked = [programs[number] for number in sorted(numbers)]
        for program in asked:
            pickle.dump((folder, documents, recipe, spec, batch_tokens), program.stdin)
            program.stdin.flush()
        expected = plain(documents, FakeBackend(spec), **recipe)
        for program in asked:
            assert_rows(expected, pickle.load(program.stdout))


def test_a_changed_document_alone_is_read(tmp_path):
    documents = texts(100)
    with cached(tmp_path) as embedder:
        embedder.embed_documents(documents)
        before = embedder.usage
    documents[37] = ["another", *documents[37]]

    backend = FakeBackend()
    with cached(tmp_path, backend) as embedder:
        rows = embedder.embed_documents(documents)

    assert_rows(plain(documents), rows)
    assert [document.keep for document in backend.windows] == [range(5)]
    assert embedder.usage.cached_documents == 99
    assert embedder.usage.tokens * 50 < before.tokens


def test_what_changes_no_document_is_no_part_of_the_key(tmp_path):
    documents = texts(3)
    with cached(tmp_path) as embedder:
        embedder.embed_documents(documents)
    backend = FakeBackend()
    with cached(
        tmp_path, backend, query_prefix="q: ", normalize=True, empty="zero", long_chunks="pool"
    ) as embedder:
        rows = embedder.embed_documents(documents)

    assert not backend.batches
    assert not backend.tokenized
    assert_rows(plain(documents, normalize=True), rows)


def test_one_chunk_has_no_context_in_its_key(tmp_path):
    with cached(tmp_path, FakeBackend(SPEC), context_weight=1) as embedder:
        embedder.embed_documents([["alone"], ["one", "two"]])
    backend = FakeBackend(SPEC)
    with cached(tmp_path, backend, context_weight=0.5, window_tokens=30) as embedder:
        embedder.embed_documents([["alone"], ["one", "two"]])

    assert {window.document for window in backend.windows} == {1}


@pytest.mark.parametrize(
    "other",
    [
        ModelIdentity("torch", "digest", "float32"),
        ModelIdentity("onnx", "other", "float32"),
        ModelIdentity("onnx", "digest", "bfloat16"),
        ModelIdentity("onnx", "digest", "float32", "estimate-v1"),
    ],
)
def test_another_identity_shares_nothing(tmp_path, other):
    """Another library, other weights, another resolved type or address, another count of tokens."""
    one, two = FakeBackend(), FakeBackend(fault=lambda batch: [np.ones((2, 16), np.int8)])
    one.identity, two.identity = ModelIdentity("onnx", "digest", "float32"), other
    documents = [["a", "b"]]
    with cached(tmp_path, one) as embedder:
        first = embedder.embed_documents(documents)
    with cached(tmp_path, two) as embedder:
        second = embedder.embed_documents(documents)
    with cached(tmp_path, one) as embedder:
        again = embedder.embed_documents(documents)

    assert (second[0] == 1).all()
    assert_rows(first, again)


def test_a_backend_without_identity_is_refused(tmp_path):
    backend = FakeBackend()
    del backend.identity
    with pytest.raises(ConfigurationError, match="FakeBackend has no identity"):
        cached(tmp_path, backend)


@pytest.mark.parametrize("encoding", ["int8", "binary", "ubinary", "float"])
def test_every_position_has_an_array_of_its_own(tmp_path, encoding):
    """Equal documents are read once, and what a caller writes into one array stays there."""
    documents = [["a", "b"], ["c"], ["a", "b"], ["a", " ", "b"], ["a", "b"]]
    if encoding == "ubinary":
        documents[3] = ["a", "b"]
    expected = plain(documents, encoding=encoding, empty="zero")
    for read in (2, 0):
        backend = FakeBackend()
        with cached(tmp_path, backend, encoding=encoding, empty="zero") as embedder:
            rows = embedder.embed_documents(documents)
            assert_rows(expected, rows)
            for row in rows:
                row[:] = 0
            assert_rows(expected, embedder.embed_documents(documents))
        assert len(backend.windows) == read


def test_equal_documents_fail_alike(tmp_path):
    backend = FakeBackend(SPEC)
    long = " ".join(["word"] * 61)
    with cached(tmp_path, backend) as embedder:
        found = list(embedder.stream([["a"], ["b", long], ["a"], ["b", long]], errors="return"))

    assert [type(each).__name__ for each in found[1::2]] == ["DocumentTooLongError"] * 2
    assert [(each.document, each.chunk) for each in found[1::2]] == [(1, 1), (3, 1)]
    assert_rows([found[0]], [found[2]])


def test_a_policy_that_refuses_is_not_hidden(tmp_path):
    """A document that one policy lets pass raises under the other, although its rows are there."""
    long = " ".join(["word"] * 61)
    with cached(tmp_path, FakeBackend(SPEC), long_chunks="pool") as embedder:
        embedder.embed_documents([["b", long]])
    with (
        cached(tmp_path, FakeBackend(SPEC)) as embedder,
        pytest.raises(DocumentTooLongError),
    ):
        embedder.embed_documents([["b", long]])


class Wordless(FakeBackend):
    """A backend that knows no token for "?"."""

    def tokenize(self, chunks):
        return [
            TokenizedChunk(each.text, 0, []) if each.text == "?" else each
            for each in super().tokenize(chunks)
        ]


def test_a_chunk_without_tokens(tmp_path):
    documents = [["a", "?", "b", " "]]
    expected = plain(documents, Wordless(), empty="zero")
    for _ in range(2):
        with cached(tmp_path, Wordless(), empty="zero") as embedder:
            assert_rows(expected, embedder.embed_documents(documents))
    with cached(tmp_path, Wordless()) as embedder, pytest.raises(EmptyChunkError) as caught:
        embedder.embed_documents([["a", "?", "b"]])
    assert caught.value.chunk == 1


def test_a_blank_chunk_that_is_tokenised_already_is_blank(tmp_path):
    """Some tokenisers have tokens for white space; `["a"]` and `["a", " "]` are one entry."""
    word, blank = FakeBackend().tokenize(["a"])[0], TokenizedChunk(" ", 1, [7])
    documents = [["a", " "], [word, blank], [word]]
    expected = plain(documents, empty="zero")
    assert_rows(expected[:1], expected[1:2])
    for _ in range(2):
        with cached(tmp_path, empty="zero") as embedder:
            assert_rows(expected, embedder.embed_documents(documents))


def refuse_after(count):
    """Return a fault that lets windows of `count` documents pass, and says 429 from then on."""
    passed = set()

    def fault(batch):
        numbers = {window.document for window in batch.windows}
        if len(passed | numbers) > count:
            raise RateLimitError("the quota is used up.")
        passed.update(numbers)

    return fault


@pytest.mark.parametrize("way", ["list", "stream", "async list", "async stream"])
def test_what_was_finished_before_a_refusal_is_kept(tmp_path, way):
    documents = texts(20)

    def run(backend):
        with cached(tmp_path, backend) as embedder:
            if way == "list":
                return embedder.embed_documents(documents)
            if way == "stream":
                return list(embedder.stream(documents))
            if way == "async list":
                return asyncio.run(embedder.aembed_documents(documents))

            async def collect():
                return [each async for each in embedder.astream(documents)]

            return asyncio.run(collect())

    with pytest.raises(RateLimitError):
        run(FakeBackend(limits=Limits(batch_tokens=16), fault=refuse_after(12)))
    backend = FakeBackend()
    assert_rows(plain(documents), run(backend))
    assert len(backend.windows) == 8


def test_what_was_finished_before_the_caller_stopped_is_kept(tmp_path):
    """Three batches are done when the caller leaves, and a fourth ends while it is stopped."""
    documents = texts(8)
    reached, go_on = threading.Event(), threading.Event()

    def fault(batch):
        if batch.windows[0].document == 3:
            reached.set()
            assert go_on.wait(20)

    backend = FakeBackend(limits=Limits(batch_tokens=16), fault=fault)
    with cached(tmp_path, backend) as embedder:
        stream = embedder.stream(documents)
        for _ in range(3):
            next(stream)
        assert reached.wait(20)
        closing_ = threading.Timer(0, go_on.set)
        closing_.start()
        stream.close()
        closing_.join()
    backend = FakeBackend()
    with cached(tmp_path, backend) as embedder:
        assert_rows(plain(documents), embedder.embed_documents(documents))
    assert {window.document for window in backend.windows} <= {4, 5, 6, 7}


def test_a_cancelled_task_keeps_what_was_finished(tmp_path):
    documents = texts(6)

    async def run():
        waiting, third = asyncio.Event(), asyncio.Event()

        class Slow(FakeBackend):
            async def aembed(self, batch):
                if batch.windows[0].document == 3:
                    third.set()
                    await waiting.wait()
                return await super().aembed(batch)

        with cached(tmp_path, Slow(limits=Limits(batch_tokens=16))) as embedder:
            task = asyncio.create_task(embedder.aembed_documents(documents))
            await third.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    backend = FakeBackend()
    with cached(tmp_path, backend) as embedder:
        assert_rows(plain(documents), embedder.embed_documents(documents))
    assert {window.document for window in backend.windows} == {3, 4, 5}


def test_a_task_cancelled_while_a_document_is_kept_waits_for_that(tmp_path, monkeypatch):
    """The cache is closed right after the cancellation, and the document is there all the same."""
    documents, keep = texts(6), DocumentCache.keep

    async def run():
        loop, keeping = asyncio.get_running_loop(), asyncio.Event()
        go_on = threading.Event()

        def slow(cache, entries):
            loop.call_soon_threadsafe(keeping.set)
            assert go_on.wait(20)
            keep(cache, entries)

        monkeypatch.setattr(DocumentCache, "keep", slow)
        with cached(tmp_path, FakeBackend(limits=Limits(batch_tokens=16))) as embedder:
            task = asyncio.create_task(embedder.aembed_documents(documents))
            await keeping.wait()
            task.cancel()
            loop.call_soon(go_on.set)
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    monkeypatch.setattr(DocumentCache, "keep", keep)
    backend = FakeBackend()
    with cached(tmp_path, backend) as embedder:
        assert_rows(plain(documents), embedder.embed_documents(documents))
    assert 0 not in {window.document for window in backend.windows}


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.sampled_from(["flip", "cut", "zero"]))
def test_a_damaged_file_never_gives_a_wrong_row(tmp_path_factory, chance, how):
    folder = tmp_path_factory.mktemp("damaged")
    documents = texts(12)
    with cached(folder) as embedder:
        embedder.embed_documents(documents)
    path = folder / FILE_NAME
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data))
    if how == "flip":
        data[place] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del data[place:]
    else:
        data[place : place + 4096] = bytes(len(data[place : place + 4096]))
    path.write_bytes(data)

    for _ in range(2):
        with cached(folder) as embedder:
            assert_rows(plain(documents), embedder.embed_documents(documents))


@pytest.mark.parametrize("place", ["entry", "other key", "length"])
def test_a_damaged_entry_is_read_again_and_replaced(tmp_path, place):
    documents = texts(4)
    with cached(tmp_path) as embedder:
        embedder.embed_documents(documents)
    with closing(connect(tmp_path)) as connection:
        if place == "other key":
            connection.execute("UPDATE keys SET id = 1 WHERE id = 2")
        else:
            (data,) = connection.execute("SELECT data FROM entries WHERE id = 2").fetchone()
            damaged = data[:-1] if place == "length" else data[:-1] + bytes([data[-1] ^ 1])
            connection.execute("UPDATE entries SET data = ? WHERE id = 2", (damaged,))
    read = []
    for _ in range(3):
        backend = FakeBackend()
        with cached(tmp_path, backend) as embedder:
            assert_rows(plain(documents), embedder.embed_documents(documents))
        read.append(len(backend.windows))
    assert read[0] == 1
    assert read[2] == 0


def spoil_with_text(folder):
    (folder / FILE_NAME).write_text("no database at all, but long enough to look into")


def spoil_with_other_tables(folder):
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.execute("CREATE TABLE entries (id)")
        connection.commit()


def spoil_with_version(folder):
    cached(folder).close()
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 99")


def spoil_with_a_folder(folder):
    (folder / FILE_NAME).mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_with_text, "file is not a database"),
        (spoil_with_other_tables, "is no vector cache of this version"),
        (spoil_with_version, "is no vector cache of this version"),
        (spoil_with_a_folder, "holds no vector cache"),
    ],
)
def test_an_unusable_folder_is_said_once_and_left_alone(tmp_path, caplog, spoil, said):
    folder = tmp_path / "folder"
    folder.mkdir()
    spoil(folder)
    with caplog.at_level(logging.WARNING):
        embedder = cached(folder)
        assert said in caplog.text
        for _ in range(2):
            assert_rows(plain(texts(3)), embedder.embed_documents(texts(3)))
        embedder.close()
    assert len(caplog.records) == 1
    assert "the run goes on without it" in caplog.text


def test_a_file_in_the_place_of_the_folder(tmp_path, caplog):
    path = tmp_path / "file"
    path.write_text("mine")
    with cached(path) as embedder:
        assert_rows(plain(texts(3)), embedder.embed_documents(texts(3)))
    assert "cannot be used" in caplog.text
    assert path.read_text() == "mine"


def test_a_lock_that_does_not_come(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(sqlite_file, "SECONDS_FOR_A_LOCK", 0.01)
    with (
        cached(tmp_path) as embedder,
        closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert_rows(plain(texts(3)), embedder.embed_documents(texts(3)))
        assert_rows(plain(texts(3)), embedder.embed_documents(texts(3)))
    (record,) = caplog.records
    assert record.getMessage() == (
        f"The vector cache in {tmp_path} cannot be used (database is locked), and the run goes on "
        "without it."
    )


def test_a_cache_is_tried_again_after_its_rest(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(sqlite_cache.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sqlite_file, "SECONDS_FOR_A_LOCK", 0.01)
    store = SqliteCache(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.put({b"a": b"1"})
    store.put({b"b": b"2"})
    assert store.get([b"a", b"b"]) == {}
    now[0] = 61.0
    store.put({b"c": b"3"})
    assert store.get([b"a", b"b", b"c"]) == {b"c": b"3"}
    store.close()
    assert store.get([b"c"]) == {}


def test_a_damaged_file_that_was_cleared_is_used_again(tmp_path, monkeypatch):
    """A run that goes on finds the new file, and does not write into the one that is gone."""
    now = [0.0]
    monkeypatch.setattr(sqlite_cache.time, "monotonic", lambda: now[0])
    store = SqliteCache(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"nonsense" * 1000)
    assert store.get([b"a"]) == {}
    clear(tmp_path)
    now[0] = 61.0
    store.put({b"a": b"1"})
    with closing(connect(tmp_path)) as other:
        assert contents(other).documents == 1
    store.close()


def test_an_interrupt_in_a_write_leaves_no_lock(tmp_path, monkeypatch):
    """Ctrl-C may come between the statement that takes the lock and the next line."""
    store = SqliteCache(tmp_path)
    store.put({b"a": b"1"})

    @contextmanager
    def interrupted(connection):
        connection.execute("BEGIN IMMEDIATE")
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_file, "_transaction", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put({b"b": b"2"})

    monkeypatch.setattr(sqlite_file, "SECONDS_FOR_A_LOCK", 0.01)
    other = SqliteCache(tmp_path)
    other.put({b"c": b"3"})
    store.put({b"d": b"4"})
    found = {b"a": b"1", b"c": b"3", b"d": b"4"}
    for each in (store, other):
        assert each.get([b"a", b"b", b"c", b"d"]) == found
        each.close()


def test_a_cache_that_is_dropped_closes_its_connection(tmp_path):
    embedder = cached(tmp_path)
    connection = embedder.cache._connection
    del embedder
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def run_python(code, *arguments, **given):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **given,
    )


RUN = """
import sys
import numpy as np
from ctxembed import Embedder, Settings
from ctxembed.testing import FakeBackend
documents = [[f"document {n} {word}" for word in range(4)] for n in range(int(sys.argv[2]))]
expected = Embedder(FakeBackend(), Settings()).embed_documents(documents)
for _ in range(2):
    with Embedder(FakeBackend(), Settings(cache=sys.argv[1])) as embedder:
        found = embedder.embed_documents(documents)
    assert all(np.array_equal(*pair) for pair in zip(expected, found, strict=True))
print(embedder.usage.cached_documents)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_full_disk(tmp_path):
    """Files of this process may not grow beyond 60 kB, as on a disk that is full."""
    done = run_python(RUN, tmp_path, 400, preexec_fn=small_files)
    assert done.returncode == 0, done.stderr
    assert "the run goes on without it" in done.stderr
    assert int(done.stdout) < 400


def test_modes_of_folder_and_files(tmp_path):
    folder = tmp_path / "new" / "cache"
    with cached(folder) as embedder:
        embedder.embed_documents(texts(3))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert FILE_NAME in modes


def test_no_text_is_in_the_folder(tmp_path):
    with cached(tmp_path) as embedder:
        embedder.embed_documents([["an unmistakable phrase", "and another of them"]])
        data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert data
    assert b"unmistakable" not in data
    assert b"another" not in data


def test_the_least_recently_used_go_and_the_file_shrinks(tmp_path, monkeypatch):
    now = [1e9]
    monkeypatch.setattr(sqlite_file.time, "time", lambda: now[0])
    store = SqliteCache(tmp_path, 2**20)
    data = bytes(10_000)
    for number in range(90):
        now[0] += 1
        store.put({b"%d" % number: data})
    now[0] += 7200
    assert len(store.get([b"0", b"1", b"2"])) == 3
    for number in range(90, 300):
        now[0] += 1
        store.put({b"%d" % number: data})
        assert store.get([b"%d" % number])
        size = sum(path.stat().st_size for path in tmp_path.glob(f"{FILE_NAME}*"))
        assert size < 2**20 + 4_200_000  # SQLite's own log is 4 MB at the most
    kept = store.get([b"%d" % number for number in range(300)])
    store.close()
    assert (tmp_path / FILE_NAME).stat().st_size <= 2**20
    numbers = sorted(int(key) for key in kept)
    assert numbers == list(range(numbers[0], 300))
    assert len(numbers) > 80


def test_a_use_keeps_an_entry(tmp_path, monkeypatch):
    now = [1e9]
    monkeypatch.setattr(sqlite_file.time, "time", lambda: now[0])
    store = SqliteCache(tmp_path, 2**20)
    for number in range(80):
        now[0] += 1
        store.put({b"%d" % number: bytes(10_000)})
    now[0] += 7200
    store.get([b"7"])
    for number in range(80, 140):
        now[0] += 1
        store.put({b"%d" % number: bytes(10_000)})
    assert list(store.get([b"6", b"7", b"8"])) == [b"7"]
    store.close()


def test_one_large_document_pushes_out_no_others(tmp_path):
    store = SqliteCache(tmp_path, 2**20)
    store.put({b"%d" % number: bytes(10_000) for number in range(50)})
    store.put({b"large": bytes(2**20), b"small": b"1"})
    assert len(store.get([b"%d" % number for number in range(50)])) == 50
    assert list(store.get([b"large", b"small"])) == [b"small"]
    store.close()


def test_prune_and_clear(tmp_path, monkeypatch):
    now = [1e9]
    monkeypatch.setattr(sqlite_file.time, "time", lambda: now[0])
    store = SqliteCache(tmp_path)
    for number in range(10):
        now[0] += 10
        store.put({b"%d" % number: bytes(100_000)})
    with closing(connect(tmp_path)) as connection:
        assert shrink(connection, None, used_before=1e9 + 35) == 3
        assert shrink(connection, 500_000) >= 2
        found = contents(connection)
        assert found.file_bytes <= 500_000
        assert found.newest_use == 1e9 + 100
    clear(tmp_path)
    with closing(connect(tmp_path)) as connection:
        assert contents(connection).documents == 0
    store.put({b"x": b"y"})
    assert store.get([b"x"]) == {b"x": b"y"}
    store.close()
    (tmp_path / FILE_NAME).write_bytes(b"nonsense" * 1000)
    clear(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    with pytest.raises(ConfigurationError, match="holds no vector cache"):
        clear(tmp_path)


EMBED_MORE_AND_MORE = """
import sys
import numpy as np
from ctxembed import Embedder, Settings
from ctxembed.testing import FakeBackend

documents = [[f"document {n} {word}" for word in range(4)] for n in range(40)]
expected = Embedder(FakeBackend(), Settings()).embed_documents(documents)
for turn in range(6):
    start = int(sys.argv[2]) + turn
    with Embedder(FakeBackend(), Settings(cache=sys.argv[1])) as embedder:
        found = embedder.embed_documents(documents[start:])
    assert all(np.array_equal(*pair) for pair in zip(expected[start:], found, strict=True))
"""


def run_four(code, folder):
    """Run a program four times at once, numbered from 0; none may fail or say anything."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder), str(number)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    said = [child.communicate(timeout=120)[1] for child in children]
    assert said == [""] * 4
    assert [child.returncode for child in children] == [0] * 4


def test_four_processes_on_one_folder(tmp_path):
    """They make the folder together, read and write, and each gets the rows of no cache."""
    run_four(EMBED_MORE_AND_MORE, tmp_path)
    with closing(connect(tmp_path)) as connection:
        assert contents(connection).documents == 40


EMBED_BEYOND_THE_LIMIT = """
import sys
import numpy as np
from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.testing import FakeBackend

spec = ModelSpec(name="wide", dimensions=2048, max_tokens=100, window_tokens=100, quantizer="tanh")
documents = [[f"document {n} {word}" for word in range(4)] for n in range(400)]
expected = Embedder(FakeBackend(spec), Settings()).embed_documents(documents)
cached = 0
for turn in range(3):
    with Embedder(FakeBackend(spec), Settings(cache=sys.argv[1], cache_bytes=2**20)) as embedder:
        for start in range(0, 400, 40):
            first = (start + 100 * int(sys.argv[2])) % 400
            for part in (slice(first, first + 40), slice(first, first + 20)):
                found = embedder.embed_documents(documents[part])
                pairs = zip(expected[part], found, strict=True)
                assert all(np.array_equal(*pair) for pair in pairs)
        cached += embedder.usage.cached_documents
assert cached, "nothing was ever found again"
"""


def test_eviction_while_four_processes_read_and_write(tmp_path):
    """Each writes three times what fits, over the same documents; no row is ever wrong."""
    run_four(EMBED_BEYOND_THE_LIMIT, tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_size <= 2**20
    with closing(connect(tmp_path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert 0 < contents(connection).documents < 400


FORK = """
import faulthandler, os, sys, traceback
import numpy as np
from ctxembed import Embedder, Settings
from ctxembed.testing import FakeBackend

faulthandler.dump_traceback_later(60, exit=True)
documents = [[f"document {n} {word}" for word in range(4)] for n in range(30)]
expected = Embedder(FakeBackend(), Settings()).embed_documents(documents)

def check(start, stop):
    rows = embedder.embed_documents(documents[start:stop])
    assert all(np.array_equal(*pair) for pair in zip(expected[start:stop], rows, strict=True))

with Embedder(FakeBackend(), Settings(cache=sys.argv[1])) as embedder:
    check(0, 10)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            check(0, 20)
            # the parent may have kept some of the other ten by now
            assert 10 <= embedder.usage.cached_documents <= 20
            embedder.close()
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)  # the end of an interpreter would wait for the parent's faulthandler
    check(10, 30)
    assert os.waitpid(child, 0)[1] == 0
    check(0, 30)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_has_a_connection_of_its_own(tmp_path):
    """Parent and child write to one cache after a fork that came in the middle of its use."""
    done = run_python(FORK, tmp_path)
    assert done.returncode == 0, done.stderr
    with closing(connect(tmp_path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert contents(connection).documents == 30


WRITE_FOREVER = """
import sys
from ctxembed.cache.sqlite_cache import SqliteCache
store = SqliteCache(sys.argv[1], 2**21)
number = int(sys.argv[2]) * 1_000_000
print("ready", flush=True)
while True:
    number += 1
    store.put({b"%d" % n: b"%d" % n * 700 for n in range(number * 20, number * 20 + 20)})
    print(number * 20, flush=True)
"""


@pytest.mark.parametrize("times", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_in_a_write(tmp_path, times):
    """What a killed process had finished is there, whole, and the next one goes on."""
    chance = random.Random(7)
    for turn in range(times):
        with subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, str(tmp_path), str(turn)],
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            for _ in range(chance.randrange(1, 12)):
                number = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
        store = SqliteCache(tmp_path, 2**21)
        keys = [b"%d" % n for n in range(number, number + 20)]
        assert store.get(keys) == {key: key * 700 for key in keys}
        store.close()
    with closing(connect(tmp_path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_threads_share_one_embedder(tmp_path):
    documents = texts(40)
    expected = plain(documents)
    with cached(tmp_path) as embedder:
        threads = [
            threading.Thread(
                target=lambda: [
                    assert_rows(expected, embedder.embed_documents(documents)) for _ in range(3)
                ]
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_queries_are_not_cached(tmp_path):
    backend = FakeBackend()
    with cached(tmp_path, backend) as embedder:
        embedder.embed_query("what?")
        embedder.embed_query("what?")
        embedder.embed_documents([["what?"]])
    assert len(backend.batches) == 3


def test_a_store_of_ones_own():
    """Three methods are enough, and the store stands in for the folder."""

    class Memory:
        def __init__(self):
            self.kept, self.closed = {}, 0

        def get(self, keys):
            return {key: self.kept[key] for key in keys if key in self.kept}

        def put(self, entries):
            self.kept.update(entries)

        def close(self):
            self.closed += 1

    store, backend = Memory(), FakeBackend()
    for _ in range(2):
        with Embedder(backend, Settings(), cache=store) as embedder:
            assert_rows(plain(texts(5)), embedder.embed_documents(texts(5)))
    assert len(backend.windows) == 5
    assert store.closed == 2


def test_a_folder_named_by_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with cached("~/vectors") as embedder:
        embedder.embed_documents(texts(1))
    assert (tmp_path / "vectors" / FILE_NAME).is_file()
    with pytest.raises(ConfigurationError, match="str\\(path\\)"):
        Settings(cache=Path("folder"))
    with pytest.raises(ConfigurationError, match="no such home directory"):
        cached("~nobody-of-this-name/vectors")


@pytest.mark.parametrize("folder", ["", " ", "a\0b"])
def test_a_name_of_no_folder_is_refused(folder):
    """As from a variable of the environment that is not set: it is not the current directory."""
    with pytest.raises(ConfigurationError, match="cache names no folder"):
        Settings(cache=folder)
