"""Running documents: a slow batch holds up no other, errors keep their place, memory is bounded."""

import asyncio
import threading
from concurrent.futures import wait

import numpy as np
import pytest

from ctxembed import BackendError, Embedder, InputError, Limits, Settings, execution
from ctxembed.testing import FakeBackend

WAYS = ["embed_documents", "stream", "aembed_documents", "astream"]


class Threaded(FakeBackend):
    """A backend whose async calls run in threads, so that one of them may wait."""

    async def aembed(self, batch):
        return await asyncio.to_thread(self.embed, batch)


def embedded(embedder, documents, way, each=lambda _: None):
    """Return all arrays, by one of the four ways; `each` is called with one when it comes."""
    found = getattr(embedder, way)(documents)

    async def collected():
        return [(array, each(array)) async for array in found]

    if way == "aembed_documents":
        return asyncio.run(found)
    pairs = asyncio.run(collected()) if way == "astream" else [(one, each(one)) for one in found]
    return [array for array, _ in pairs]


def is_about(batch, text):
    return any(chunk.text == text for window in batch.windows for chunk in window.chunks)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("total", [40, 2000])
def test_a_batch_that_hangs_holds_up_no_other(way, total):
    """The first of them ends only when all others have been answered; results come in order."""
    answered, lock, others = 0, threading.Lock(), threading.Event()

    def fault(batch):
        nonlocal answered
        if is_about(batch, "w0"):
            assert others.wait(60), "the others were held up"
            return
        with lock:
            answered += len(batch.windows)
            if answered == total - 1:
                others.set()

    limits = Limits(batch_tokens=1, concurrency=4)
    documents = [[f"w{number}"] for number in range(total)]
    found = embedded(Embedder(Threaded(limits=limits, fault=fault, record=False)), documents, way)
    expected = Embedder(FakeBackend()).embed_documents(documents)

    assert total == len(found)
    assert np.array_equal(np.concatenate(expected), np.concatenate(found))


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_what_waits_behind_a_hanging_batch_is_bounded(monkeypatch, way):
    """Documents are read on to the bound, and no further until the batch ends."""
    monkeypatch.setattr(execution, "HELD_BYTES", 20_000)
    taken, far = 0, threading.Event()

    def documents():
        nonlocal taken
        for number in range(5000):
            taken += 1
            if taken == 100:
                far.set()
            yield [f"w{number}"]

    def fault(batch):
        if is_about(batch, "w0"):
            assert far.wait(60), "nothing was read behind the hanging batch"

    limits = Limits(batch_tokens=1, concurrency=2)
    embedder = Embedder(Threaded(limits=limits, fault=fault, record=False))
    at_first = []
    embedded(embedder, documents(), way, lambda _: at_first.append(taken))

    each = 16 + 100 + 8  # a row, the objects around a chunk, one token
    assert 100 <= at_first[0] <= 20_000 / each + 100
    assert taken == 5000


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_with_raise_what_stands_before_the_error_comes_first(way):
    """The error is raised in its place, and what lies far behind it is never embedded."""

    def fault(batch):
        if is_about(batch, "w5"):
            raise BackendError("it broke.")

    backend = Threaded(limits=Limits(batch_tokens=1, concurrency=1), fault=fault)
    documents = ([f"w{number}"] for number in range(5000))
    found = []
    with pytest.raises(BackendError) as caught:
        embedded(Embedder(backend), documents, way, found.append)

    assert caught.value.document == 5
    assert len(found) == 5
    assert len(backend.windows) < 100


def test_an_error_may_stand_in_the_place_of_a_document():
    """What cannot be read is handed over as an error, keeps its place, and is numbered there."""
    broken = InputError("is not JSON.", key="line 2")
    documents = [["a", "b"], broken, ["c"]]
    embedder = Embedder(FakeBackend())
    first, second, third = embedder.stream(documents, errors="return")

    assert np.array_equal(embedder.embed_documents([["a", "b"]])[0], first)
    assert np.array_equal(embedder.embed_documents([["c"]])[0], third)
    assert str(second) == "Document 1 ('line 2'): is not JSON."
    assert broken.document is None


def test_a_chunk_that_is_tokenized_already_is_not_tokenized_again():
    """The same vectors come out, and nothing else goes through the tokenizer."""
    backend = FakeBackend()
    embedder = Embedder(backend)
    (expected,) = embedder.embed_documents([["a b", "c"]])
    chunks = backend.tokenize(["a b", "c"])
    before = backend.tokenized
    mixed = embedder.embed_documents([chunks, [chunks[0], "c"]])

    assert np.array_equal(expected, mixed[0])
    assert np.array_equal(expected, mixed[1])
    assert backend.tokenized == before + 1


def test_a_call_that_fails_waits_for_nothing_that_never_begins(tmp_path, monkeypatch):
    """The reader of documents fails while four batches are under way, and one of them runs."""
    go_on, outcomes = threading.Event(), []

    def fault(batch):
        assert batch.windows[0].document < 4 or go_on.wait(20)

    def documents():
        for number in range(10):  # a block of documents
            yield [f"w{number} and {'a' * 40}"]
        raise InputError("no more can be read.")

    def waited(futures, _):
        go_on.set()
        outcomes.append(wait(futures, 20))

    monkeypatch.setattr(execution, "wait", waited)
    backend = FakeBackend(limits=Limits(batch_tokens=16), fault=fault)
    embedder = Embedder(backend, Settings(cache=str(tmp_path)))
    with embedder, pytest.raises(InputError, match="no more can be read"):
        list(embedder.stream(documents()))
    ((ended, left),) = outcomes
    assert len(ended) >= 1
    assert not left


def test_errors_of_a_whole_batch_name_its_documents():
    """With "raise" a batch that failed names them all; in a stream of errors each names its own."""

    def fault(_):
        raise BackendError("it broke.")

    embedder = Embedder(FakeBackend(fault=fault))
    with pytest.raises(BackendError, match="One of documents 0 to 2: it broke"):
        embedder.embed_documents([["a"], ["b"], ["c"]])
    found = list(embedder.stream([["a"], ["b"], ["c"]], errors="return"))

    assert ["Document 0: it broke.", "Document 1: it broke.", "Document 2: it broke."] == [
        str(error) for error in found
    ]
    assert len({id(error) for error in found}) == 3
