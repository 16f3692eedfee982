"""A large document starves no other: small ones are finished, and kept, while it is under way."""

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest

from ctxembed import BackendError, Embedder, Limits, Settings
from ctxembed.batches import pack
from ctxembed.planning import plan_batches, plan_documents
from ctxembed.recipe import document_recipe
from ctxembed.testing import FakeBackend

SMALL = [[f"small {number}", "of two chunks"] for number in range(12)]
LARGE = [f"large {number}" for number in range(400)]
OTHER = [f"other {number}" for number in range(400)]
SETTINGS = Settings(window_tokens=8)
LIMITS = Limits(batch_tokens=16)
ORDERS = {
    "large first": [LARGE, *SMALL],
    "large in between": [*SMALL[:6], LARGE, *SMALL[6:]],
    "large last": [*SMALL, LARGE],
}
orders = pytest.mark.parametrize("documents", ORDERS.values(), ids=ORDERS)
limits = pytest.mark.parametrize(
    "limits", [LIMITS, replace(LIMITS, padded=True), replace(LIMITS, concurrency=4)]
)
both = pytest.mark.parametrize("is_async", [False, True])


class Threaded(FakeBackend):
    """A backend whose async calls run in threads, so that one of them may wait."""

    async def aembed(self, batch):
        return await asyncio.to_thread(self.embed, batch)


class CountingCache:
    """A cache that keeps, and says when it has kept so many documents."""

    def __init__(self, count):
        self.count = count
        self.entries = {}
        self.full = threading.Event()

    def get(self, keys):
        return {key: self.entries[key] for key in keys if key in self.entries}

    def put(self, entries):
        self.entries |= entries
        if len(self.entries) >= self.count:
            self.full.set()

    def close(self):
        pass


def embedded(embedder, documents, is_async):
    if is_async:
        return asyncio.run(embedder.aembed_documents(documents))
    return embedder.embed_documents(documents)


def is_about(batch, text):
    return any(chunk.text == text for window in batch.windows for chunk in window.chunks)


@both
@limits
@orders
def test_small_documents_are_kept_while_a_large_one_is_under_way(documents, limits, is_async):
    """The last batch of the large document ends only when all small ones are in the cache."""
    cache = CountingCache(len(SMALL))

    def fault(batch):
        if is_about(batch, LARGE[-1]):
            assert cache.full.wait(60), "the small documents were held up"

    backend = Threaded(limits=limits, fault=fault)
    found = embedded(Embedder(backend, SETTINGS, cache=cache), documents, is_async)
    expected = Embedder(FakeBackend(), SETTINGS).embed_documents(documents)

    assert all(map(np.array_equal, expected, found))
    assert len(cache.entries) == len(SMALL) + 1


@both
def test_what_stands_behind_two_large_documents_waits_for_one_of_them(is_async):
    """The first of two large documents is complete before the second; both are before no small."""
    cache = CountingCache(len(SMALL) + 1)

    def fault(batch):
        if is_about(batch, OTHER[-1]):
            assert cache.full.wait(60), "the others were held up"

    backend = Threaded(limits=LIMITS, fault=fault)
    found = embedded(Embedder(backend, SETTINGS, cache=cache), [LARGE, OTHER, *SMALL], is_async)

    assert len(found) == len(SMALL) + 2
    assert len(cache.entries) == len(SMALL) + 2


@both
def test_a_large_document_is_not_starved_by_small_ones(is_async):
    """However many small ones stand behind it, it takes turns with them."""
    small = [[f"small {number}", "of two chunks"] for number in range(2000)]
    backend = Threaded(limits=LIMITS)
    embedded(Embedder(backend, SETTINGS), [LARGE, *small], is_async)
    about_large = [is_about(batch, LARGE[-1]) for batch in backend.batches]
    batches = sum(any(w.document == 0 for w in batch.windows) for batch in backend.batches)

    assert about_large.index(True) <= 2 * batches + 8


@both
def test_nothing_of_a_large_document_is_read_behind_one_that_failed(is_async):
    """The call ends with the error of a small document, and the large one is given up."""

    def fault(batch):
        if is_about(batch, "small 0"):
            raise BackendError("it broke.")

    backend = Threaded(limits=LIMITS, fault=fault)
    with pytest.raises(BackendError) as caught:
        embedded(Embedder(backend, SETTINGS), [SMALL[0], LARGE, *SMALL[1:]], is_async)

    assert caught.value.document == 0
    assert sum(is_about(batch, text) for text in LARGE for batch in backend.batches) < 50


@limits
@orders
def test_batches_apart_are_few_more_than_batches_together(documents, limits):
    """Every window is in one batch, and a large document costs one or two batches at most."""
    backend = FakeBackend(limits=limits)
    recipe = document_recipe(SETTINGS, backend, None)
    planned = plan_documents(backend, recipe, [tuple(each) for each in documents])
    batches = plan_batches(planned, recipe, limits)
    windows = [window for document in planned for window in document.windows]
    places = [(each.number, n) for each in planned for n in range(len(each.windows))]
    large = documents.index(LARGE)

    assert sorted(place for batch in batches for place in batch.places) == places
    assert len(batches) <= len(pack(windows, limits)) + 2
    for batch in batches:
        about = {place[0] for place in batch.places}
        assert (large in about) == (batch.large_document == large)
        assert large not in about or len(about) == 1
