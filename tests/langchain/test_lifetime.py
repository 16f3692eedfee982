"""What outlives a call: siblings, rows, embedders, and the memory and locks that they take."""

import asyncio
import copy
import gc
import os
import pickle
import signal
import threading
import tracemalloc
import weakref

import pytest
from checkpoints import copy_of
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from ctxembed import ConfigurationError
from langchain_ctxembed import (
    REGISTRY,
    ContextRegistry,
    ContextualEmbeddings,
    ContextualTextSplitter,
    ContextualVectorStore,
)
from langchain_ctxembed.lru_cache import LruCache
from langchain_ctxembed.precomputed_vectors import ACTIVE


@pytest.fixture
def long(line_splitter):
    """A document of 70 chunks."""
    lines = "\n".join(f"Row {number}." for number in range(70))
    return line_splitter().split_documents([Document(page_content=lines)])


# Siblings and rows


def test_what_was_used_last_is_kept_within_its_bytes():
    kept = LruCache(1000)
    kept.put("a", "A", 10)
    kept.put("b", "B", 10)
    kept.put("a", "AA", 20)
    assert kept.get("a") == "AA"
    kept.put("c", "C", 300)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == ("AA", None, "C")
    assert kept.get("a") == "AA"
    kept.put("d", "D", 10)
    assert (kept.get("a"), kept.get("c")) == ("AA", None)
    kept.put("huge", "H", 1000)
    assert (kept.get("huge"), len(kept)) == (None, 2)
    assert kept.bytes <= 1000
    for most in (0, -1):
        kept.max_bytes = most
        kept.put("e", "E", 1)
        assert (len(kept), kept.bytes) == (0, 0)


@pytest.mark.parametrize("count", [1, 5])
def test_many_small_documents_take_the_memory_that_is_said(count):
    gc.collect()  # empties the lists of free tuples: one taken from there is not traced
    tracemalloc.start()
    registry = ContextRegistry(max_bytes=2**20)
    for number in range(10_000):
        registry.register(f"{number:032x}", [f"Chunk {number} {n}." for n in range(count)])
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(registry) > 1000
    assert 0.8 * 2**20 < used < 1.2 * 2**20


def test_rows_of_a_document_beyond_their_bytes_are_not_embedded_anew_for_each_slice(
    fake, registry, long
):
    embeddings, backend = fake()
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    wrapped._row_cache.max_bytes = 100
    for start in range(0, len(long), 7):
        wrapped.add_documents(long[start : start + 7])
    assert len(backend.windows) == 1
    assert len(wrapped._row_cache) == 1


# Copies and pickles


def test_a_splitter_can_be_sent_to_another_process(parents):
    embeddings = ContextualEmbeddings(model="minilm")
    splitter = ContextualTextSplitter(embeddings=embeddings)
    read = pickle.loads(pickle.dumps(splitter))
    assert read._registry is REGISTRY
    plain = ContextualTextSplitter()
    again = pickle.loads(pickle.dumps(plain))
    assert again.split_documents(parents) == plain.split_documents(parents)


def test_a_registry_is_shared_by_copies_and_not_pickled():
    own = ContextRegistry(max_bytes=5000)
    own.register("a", ["private"])
    assert copy.copy(own) is own
    assert copy.deepcopy(own) is own
    data = pickle.dumps(own)
    assert b"private" not in data
    read = pickle.loads(data)
    assert (type(read), read.max_bytes, len(read)) == (ContextRegistry, 5000, 0)
    assert pickle.loads(pickle.dumps(REGISTRY)) is REGISTRY
    assert isinstance(pickle.loads(pickle.dumps(LruCache(7))), LruCache)


def test_a_deep_copy_of_a_store_is_another_store_that_knows_the_same_siblings(
    embeddings, registry, line_splitter, parents, truth, held
):
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    chunks = line_splitter().split_documents(parents)
    wrapped.add_documents(chunks[:3])
    copied = copy.deepcopy(wrapped)
    copied.add_documents(chunks[3:])
    assert len(wrapped.store.store) == 3
    truth.check(parents, held(copied.store))


# Embedders


def test_closing_a_copy_closes_nobody_else(fake):
    embeddings, _ = fake()
    closed = []
    embeddings.embedder.backend.close = lambda: closed.append(1)
    for other in (copy.copy(embeddings), embeddings.model_copy(update={"dimensions": 8})):
        other.close()
    assert not closed
    embeddings.close()
    assert closed


def test_the_fingerprint_is_that_of_the_weights_in_use(pplx_checkpoint, tmp_path):
    directory = copy_of(pplx_checkpoint, tmp_path / "model")
    embeddings = ContextualEmbeddings(model=str(directory))
    before, vector = embeddings.fingerprint, embeddings.embed_query("a question")
    with (directory / "config.json").open("a") as config:
        config.write("\n")
    assert ContextualEmbeddings(model=str(directory)).fingerprint != before
    assert (embeddings.fingerprint, embeddings.embed_query("a question")) == (before, vector)
    embeddings.close()
    assert embeddings.fingerprint != before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_another_thread_opens_weights_leaves_no_lock_held(fake, registry, long):
    embeddings, _ = fake()
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    held, done = threading.Event(), threading.Event()

    def hold():
        with embeddings._embedder._lock, registry._lock, wrapped._row_cache._lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends the child where it waits for a lock that nobody lets go of
        os._exit(len(wrapped.add_documents(long[:7])) != 7)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert status == 0


# A write that is over


class LeavesATimer(InMemoryVectorStore):
    """Leaves something on the event loop, as a connection does: it keeps the context of a write."""

    async def aadd_documents(self, documents, ids=None, **kwargs):
        self.vectors = weakref.ref(ACTIVE.get())
        self.later = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self.embed_later())
        return await super().aadd_documents(documents, ids, **kwargs)

    async def embed_later(self):
        await self.later
        return await self.embedding.aembed_documents(["One.", "Other."])


async def test_what_a_store_leaves_running_keeps_no_rows_and_gets_none(fake, registry, long):
    embeddings, _ = fake()
    store = LeavesATimer(embeddings)
    await ContextualVectorStore(store, registry=registry).aadd_documents(long)
    gc.collect()
    assert store.vectors()._next == []
    store.later.set_result(None)
    with pytest.raises(ConfigurationError, match="a write to a store is over"):
        await store.task
    assert len(await embeddings.aembed_documents(["One.", "Other."])) == 2
