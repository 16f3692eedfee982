"""How far a call is: documents, chunks and tokens, what is left, and the bar that shows them."""

import asyncio
import re
import sys

import pytest

from ctxembed import BackendError, Embedder, InputError, Limits, MissingDependencyError, Settings
from ctxembed.lazy import progress_bar
from ctxembed.progress import Progress, clock_time
from ctxembed.testing import FakeBackend

DOCUMENTS = [["one two", "three"], ["four"], ["five six seven", "eight", "nine"]]
TOLD = re.compile(r"3/3 documents, 6 chunks, 12 tokens, [\d,]+ tokens/s, 00:00 left")
both = pytest.mark.parametrize("is_async", [False, True])


class DictCache(dict):
    """A cache in memory."""

    def get(self, keys):
        return {key: self[key] for key in keys if key in self}

    def put(self, entries):
        self.update(entries)

    def close(self):
        pass


def drawn(capsys, documents, is_async, embedder=None, *, progress=True):
    embedder = embedder or Embedder(FakeBackend())
    if is_async:
        asyncio.run(embedder.aembed_documents(documents, progress=progress))
    else:
        embedder.embed_documents(documents, progress=progress)
    return capsys.readouterr().err


def watched(embedder, documents, is_async, errors="return"):
    """Return what a call says of itself, step by step."""
    seen = []

    async def run():
        return [
            rows async for rows in embedder.astream(documents, errors=errors, watch=seen.append)
        ]

    if is_async:
        asyncio.run(run())
    else:
        list(embedder.stream(documents, errors=errors, watch=seen.append))
    return seen


@both
def test_a_bar_says_documents_chunks_and_tokens_per_second(capsys, is_async):
    pytest.importorskip("tqdm")

    assert TOLD.search(drawn(capsys, DOCUMENTS, is_async))
    assert "100%" in drawn(capsys, DOCUMENTS, is_async)
    assert "0/0 documents" in drawn(capsys, [], is_async)
    assert drawn(capsys, DOCUMENTS, is_async, progress=False) == ""


@both
def test_a_bar_counts_cached_documents_too(capsys, is_async):
    pytest.importorskip("tqdm")
    embedder = Embedder(FakeBackend(), cache=DictCache())
    embedder.embed_documents(DOCUMENTS[:2])
    some = drawn(capsys, DOCUMENTS, is_async, embedder)
    everything = drawn(capsys, [*DOCUMENTS, DOCUMENTS[0]], is_async, embedder)

    assert "3/3 documents, 2 cached, 6 chunks, 7 tokens, " in some
    assert "100%" in everything
    assert "4/4 documents, 4 cached, 8 chunks, 0 tokens, 0 tokens/s" in everything
    assert embedder.usage.cached_documents == 6


def test_a_bar_counts_failed_documents_too(capsys):
    pytest.importorskip("tqdm")
    documents = [["one"], InputError("is no text."), ["two"]]
    with progress_bar(documents, shown=True) as watch:
        found = [*Embedder(FakeBackend()).stream(documents, errors="return", watch=watch)]

    assert len(found) == 3
    assert "3/3 documents, 1 without vectors, 2 chunks, 2 tokens, " in capsys.readouterr().err


def test_a_bar_stays_where_it_is_when_the_call_fails(capsys):
    pytest.importorskip("tqdm")

    def fault(batch):
        if batch.windows[0].document == 1:
            raise BackendError("it broke.")

    backend = FakeBackend(limits=Limits(batch_tokens=1), fault=fault)
    with pytest.raises(BackendError):
        Embedder(backend).embed_documents([["a"], ["b"], ["c"]], progress=True)

    bar = capsys.readouterr().err
    assert "2/3 documents, 1 without vectors, 1 chunks, 1 tokens, " in bar
    assert "100%" not in bar


def test_a_bar_without_tqdm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    embedder = Embedder(FakeBackend())

    with pytest.raises(MissingDependencyError, match=r"pip install \"ctxembed\[progress\]\""):
        embedder.embed_documents(DOCUMENTS, progress=True)
    assert len(embedder.embed_documents(DOCUMENTS)) == 3


@both
def test_a_call_says_how_far_it_is(is_async):
    """At first what was read, at the end that everything is done, as `usage` counts it."""
    embedder = Embedder(FakeBackend(), Settings(document_prefix="of four words: "))
    first, *_, last = watched(embedder, [*DOCUMENTS, InputError("is no text.")], is_async)

    assert first == Progress(taken=4, documents=1, failed=1, planned_tokens=embedder.usage.tokens)
    assert last == Progress(taken=4, documents=4, failed=1, chunks=6, tokens=embedder.usage.tokens)


@both
def test_a_large_document_moves_the_bar_while_it_is_under_way(is_async):
    backend = FakeBackend(limits=Limits(batch_tokens=16))
    large = [f"chunk {number}" for number in range(400)]
    seen = watched(Embedder(backend, Settings(window_tokens=8)), [large, ["small"]], is_async)
    under_way = [each for each in seen if each.documents < 2]
    shares = [each.share(1.0) for each in under_way]

    assert len({each.tokens for each in under_way}) > 50
    assert shares == sorted(shares)
    assert all(each.seconds_left(1.0, 60.0) for each in under_way if each.tokens)


@pytest.mark.parametrize(
    ("progress", "taken", "share", "left"),
    [
        (Progress(), 0.0, 0.0, None),
        (Progress(), 1.0, 1.0, None),  # documents without text
        (Progress(planned_tokens=100), 0.5, 0.0, None),
        (Progress(tokens=100, planned_tokens=100), 1.0, 0.5, 10.0),
        (Progress(tokens=100, planned_tokens=100), 0.25, 0.125, 70.0),
        (Progress(tokens=100), 1.0, 1.0, 0.0),
        (Progress(tokens=100, planned_tokens=100, cached_tokens=600), 1.0, 0.875, 10.0),
        (Progress(tokens=50, planned_tokens=50, cached_tokens=100), 0.5, 0.375, 30.0),
        (Progress(cached_tokens=100), 0.5, 0.5, None),
    ],
)
def test_what_is_left_is_an_estimate_from_what_was_read(progress, taken, share, left):
    """After ten seconds. What was not read yet is taken to be like the rest, cached ones too."""
    assert progress.share(taken) == share
    assert progress.seconds_left(taken, 10.0) == left


def test_times_are_those_of_a_clock():
    assert [clock_time(seconds) for seconds in (0, 59.6, 3599, 3600, 90061)] == [
        *("00:00", "01:00", "59:59", "1:00:00", "25:01:01")
    ]
