"""The embedder over a fake backend: what comes back, where, and what is asked of a backend."""

import asyncio
import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import numpy as np
import pytest
from encoded import encode
from hypothesis import given

from ctxembed import (
    ConfigurationError,
    DocumentTooLongError,
    Embedder,
    EmbedError,
    EmptyChunkError,
    InputError,
    Limits,
    ModelSpec,
    NonFiniteError,
    RateLimitError,
    ResponseError,
    Settings,
    group,
)
from ctxembed.encoding import mix, quantize_tanh
from ctxembed.testing import FakeBackend
from ctxembed.testing.fake import fake_rows
from ctxembed.windows import layout_for, plan_windows

WORDS = st.sampled_from(["alpha", "beta", "gamma", "delta"])
CHUNK = st.lists(WORDS, min_size=1, max_size=9).map(" ".join)
DOCUMENTS = st.lists(st.lists(CHUNK, min_size=1, max_size=9), max_size=12)
UNTRAINED = ModelSpec(
    name="u",
    dimensions=16,
    max_tokens=40,
    window_tokens=20,
    overlap_share=0.5,
    neighbour_weight=0,  # test_neighbours.py is about those
)


def expected_rows(backend, document, settings=None):
    """Return the rows of one document, put together the long way."""
    settings = settings or Settings()
    spec = backend.spec
    layout = layout_for(settings, spec)
    rows = {}
    for window in plan_windows(0, backend.tokenize(document), layout):
        values = fake_rows(window, spec.dimensions)
        for chunk in window.keep:
            rows.setdefault(chunk, {})[window.independent] = values[chunk - window.first]
    found = []
    for chunk in range(len(document)):
        both = rows[chunk]
        if len(both) == 2:
            parts = both[False][None], both[True][None], np.zeros((1, spec.dimensions))
            value = mix(*parts, context_weight=layout.context_weight)[0]
        else:
            (value,) = both.values()
        found.append(value)
    return encode(
        np.stack(found),
        "pooled",
        encoding=settings.encoding,
        quantizer=spec.quantizer,
        dimensions=settings.dimensions or spec.dimensions,
        unit=settings.normalize,
    )


def assert_documents(expected, actual):
    assert len(expected) == len(actual)
    for one, two in zip(expected, actual, strict=True):
        assert one.dtype == two.dtype
        assert np.array_equal(one, two)


@given(DOCUMENTS, st.integers(5, 60), st.integers(1, 4), st.booleans())
def test_every_chunk_gets_the_row_of_its_own_document(documents, budget, concurrency, padded):
    """By value, whatever the batches look like and in whichever order they finish."""
    limits = Limits(batch_tokens=budget, documents=3, concurrency=concurrency, padded=padded)
    backend = FakeBackend(limits=limits)
    embedder = Embedder(backend)
    expected = [expected_rows(backend, document) for document in documents]

    assert_documents(expected, embedder.embed_documents(documents))
    assert_documents(expected, list(embedder.stream(iter(documents))))
    assert_documents(expected, asyncio.run(embedder.aembed_documents(documents)))


@given(
    DOCUMENTS,
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from(["int8", "float", "binary", "ubinary"]),
    st.integers(1, 16),
)
def test_mixing_windows_and_encodings(documents, weight, encoding, dimensions):
    """Documents of many windows, mixed with their independent vectors, in every encoding."""
    backend = FakeBackend(UNTRAINED)
    settings = Settings(context_weight=weight, encoding=encoding, dimensions=dimensions)
    expected = [expected_rows(backend, document, settings) for document in documents]

    assert_documents(expected, Embedder(backend, settings).embed_documents(documents))


def test_shapes():
    """Nothing in, nothing out; a query is a row; no queries are no rows."""
    embedder = Embedder(FakeBackend(), Settings(encoding="ubinary", dimensions=11))

    assert embedder.embed_documents([]) == []
    assert embedder.embed_queries([]).shape == (0, 2)
    assert embedder.embed_queries([]).dtype == np.uint8
    assert embedder.embed_query("q").shape == (2,)
    assert embedder.embed_queries(["q", "r"]).shape == (2, 2)
    assert embedder.dimensions == 11


def test_a_query_is_alone_and_has_its_own_prefix():
    """Queries never see each other; they take the query prefix and documents theirs."""
    backend = FakeBackend()
    settings = Settings(query_prefix="Q: ", document_prefix="D: ")
    embedder = Embedder(backend, settings)
    together = embedder.embed_queries(["one", "two"])

    assert np.array_equal(together[1], embedder.embed_query("two"))
    assert {window.chunks[0].text for window in backend.windows} == {"Q: one", "Q: two"}
    assert all(batch.prefix is None for batch in backend.batches)
    embedder.embed_documents([["one", "two"]])
    assert backend.batches[-1].prefix.text == "D: "


def test_a_prefix_takes_room_and_counts():
    """What stands before every window leaves less for chunks, and is read each time."""
    settings = Settings(document_prefix="D D D D", window_tokens=20, overlap_tokens=0)
    backend = FakeBackend(UNTRAINED)
    embedder = Embedder(backend, settings)
    embedder.embed_documents([["w " * 36]])

    assert embedder.usage.tokens == 36 + 4
    with pytest.raises(DocumentTooLongError):
        embedder.embed_documents([["w " * 37]])
    with pytest.raises(ConfigurationError, match="document_prefix has 40 tokens"):
        Embedder(backend, Settings(document_prefix="D " * 40))


def test_no_repr_holds_text():
    """Chunks, groups and windows show their numbers only."""
    backend = FakeBackend()
    Embedder(backend).embed_documents([["secret words"]])
    shown = repr([backend.batches, backend.tokenize(["secret words"]), group([("k", "secret")])])

    assert "secret" not in shown


def test_zero_rows_stand_in_for_empty_chunks():
    """With empty="zero" the model never sees them, and the others are as if they weren't there."""
    backend = FakeBackend()
    embedder = Embedder(backend, Settings(empty="zero"))
    (rows,) = embedder.embed_documents([["", "a", " ", "b"]])
    (without,) = embedder.embed_documents([["a", "b"]])

    assert np.array_equal(rows[[1, 3]], without)
    assert not rows[[0, 2]].any()
    assert not embedder.embed_documents([["", " "]])[0].any()
    assert not embedder.embed_query("").any()
    assert all(chunk.text.strip() for window in backend.windows for chunk in window.chunks)


def test_a_chunk_without_a_token_is_an_empty_chunk():
    """Text that the tokenizer drops altogether has no mean."""

    class Deaf(FakeBackend):
        def tokenize(self, chunks):
            return super().tokenize([chunk.replace("\u200b", "") for chunk in chunks])

    documents = [["a"], ["b", "\u200b"]]
    with pytest.raises(EmptyChunkError) as caught:
        Embedder(Deaf()).embed_documents(documents)

    assert (caught.value.document, caught.value.chunk) == (1, 1)
    rows = Embedder(Deaf(), Settings(empty="zero")).embed_documents(documents)
    assert not rows[1][1].any()
    assert rows[1][0].any()


def test_errors_in_a_stream_stand_in_their_place():
    """Every document gives one item, in order, the bad ones their error with their number."""
    backend = FakeBackend(limits=Limits(batch_tokens=4))
    long = "w " * 1001
    documents = [["a"], [], ["b", ""], "flat", ["c", long], ["d"]]
    found = list(Embedder(backend).stream(documents, errors="return"))
    kinds = [getattr(item, "document", None) for item in found]

    assert kinds == [None, 1, 2, 3, 4, None]
    assert [type(item) for item in found[1:5]] == [
        InputError,
        EmptyChunkError,
        InputError,
        DocumentTooLongError,
    ]
    assert found[4].chunk == 1
    assert np.array_equal(found[5], Embedder(backend).embed_documents([["d"]])[0])


def test_all_documents_are_checked_before_the_model_runs():
    """A bad document at the end costs no model time."""
    backend = FakeBackend()
    with pytest.raises(EmptyChunkError):
        Embedder(backend).embed_documents([["a"]] * 100 + [[""]])

    assert not backend.batches


def fault_on(word, error):
    """Return a fault that raises when a batch has the word."""

    def fault(batch):
        if any(word in chunk.text for window in batch.windows for chunk in window.chunks):
            raise error

    return fault


@pytest.mark.parametrize("concurrency", [1, 3])
def test_one_bad_document_spoils_no_other(concurrency):
    """When a batch fails for one of its documents, only that one has no vectors."""
    documents = [["one"], ["two", "bad"], ["three"], ["four"]]
    backend = FakeBackend(
        fault=fault_on("bad", NonFiniteError()),
        limits=Limits(concurrency=concurrency, batch_tokens=100),
    )
    embedder = Embedder(backend)
    found = list(embedder.stream(documents, errors="return"))

    assert [isinstance(item, NonFiniteError) for item in found] == [False, True, False, False]
    assert found[1].document == 1
    for number in (0, 2, 3):
        assert np.array_equal(found[number], expected_rows(FakeBackend(), documents[number]))
    with pytest.raises(NonFiniteError, match="Document 1:"):
        embedder.embed_documents(documents)


def test_a_refusal_is_not_repeated_for_every_document():
    """When the other side refuses a batch, its documents fail together, each with its number."""
    backend = FakeBackend(fault=fault_on("a", RateLimitError("slow down.")))
    found = list(Embedder(backend).stream([["a"], ["a b"], ["a c"]], errors="return"))

    assert [item.document for item in found] == [0, 1, 2]
    assert len(backend.batches) == 1


@pytest.mark.parametrize(
    "rows",
    [
        lambda batch: [],
        lambda batch: [np.zeros((1, 16), np.int8)] * (len(batch.windows) + 1),
        lambda batch: [np.zeros((len(w.chunks) - 1, 16), np.int8) for w in batch.windows],
        lambda batch: [np.zeros((len(w.chunks) + 1, 16), np.int8) for w in batch.windows],
        lambda batch: [np.zeros((len(w.chunks), 15), np.int8) for w in batch.windows],
        lambda batch: [np.zeros(len(w.chunks), np.int8) for w in batch.windows],
    ],
)
def test_wrong_counts_are_never_vectors(rows):
    """Too few, too many, too narrow: an error that names the document."""
    with pytest.raises(ResponseError, match="One of documents 0 to 1:"):
        Embedder(FakeBackend(fault=rows)).embed_documents([["a", "b"], ["c"]])
    with pytest.raises(ResponseError, match="Document 0:"):
        Embedder(FakeBackend(fault=rows)).embed_documents([["a", "b"]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_never_a_vector(value):
    """Before the quantiser hides it."""
    backend = FakeBackend(
        UNTRAINED, fault=lambda b: [np.full((len(w.chunks), 16), value) for w in b.windows]
    )
    with pytest.raises(ResponseError, match="finite"):
        Embedder(backend).embed_documents([["a", "b"]])


def test_tokenised_once():
    """Every chunk goes through the tokenizer once, whatever windows it is in."""
    backend = FakeBackend(UNTRAINED)
    Embedder(backend).embed_documents([["a b c d e"] * 40, ["f"] * 3])

    assert backend.tokenized == 43


def test_a_stream_holds_a_bounded_number_of_documents():
    """Results come while most of the input hasn't been read."""
    taken = 0

    def documents():
        nonlocal taken
        for number in range(4000):
            taken = number + 1
            yield [f"w{number} " * 20]

    stream = Embedder(FakeBackend(limits=Limits(batch_tokens=64))).stream(documents())
    next(stream)
    first = taken
    rest = sum(1 for _ in stream)

    assert first < 500
    assert rest == 3999
    assert taken == 4000


def test_a_stream_may_be_left():
    """Leaving a stream early stops its threads."""
    before = threading.active_count()
    stream = Embedder(FakeBackend(limits=Limits(batch_tokens=4, concurrency=3))).stream(
        ["a b c"] for _ in range(1000)
    )
    next(stream)
    stream.close()
    gc.collect()

    assert threading.active_count() == before


def test_an_error_of_the_input_itself_comes_through():
    """What the caller's own iterable raises is the caller's."""

    def documents():
        yield ["a"]
        raise KeyError("mine")

    with pytest.raises(KeyError):
        list(Embedder(FakeBackend()).stream(documents(), errors="return"))


async def test_async_streams_take_both_kinds_of_iterables():
    """And stand in for errors like the others."""

    async def documents():
        for document in (["a"], [], ["b", "c"]):
            await asyncio.sleep(0)
            yield document

    embedder = Embedder(FakeBackend(limits=Limits(batch_tokens=2, concurrency=2), delay=0.001))
    one = [item async for item in embedder.astream(documents(), errors="return")]
    two = [item async for item in embedder.astream([["a"], [], ["b", "c"]], errors="return")]

    for items in (one, two):
        assert np.array_equal(items[0], embedder.embed_documents([["a"]])[0])
        assert isinstance(items[1], InputError)
        assert np.array_equal(items[2], embedder.embed_documents([["b", "c"]])[0])
    with pytest.raises(InputError, match="Document 1"):
        async for _ in embedder.astream(documents()):
            pass


async def test_async_requests_are_under_way_together():
    """As many as the backend allows, and never more."""
    now = most = 0
    four = asyncio.Event()

    class Slow(FakeBackend):
        async def aembed(self, batch):
            nonlocal now, most
            now += 1
            most = max(most, now)
            if now == 4:
                four.set()
            async with asyncio.timeout(30):
                await four.wait()
            for _ in range(10):  # a fifth request would begin meanwhile
                await asyncio.sleep(0)
            now -= 1
            return self.embed(batch)

    backend = Slow(limits=Limits(batch_tokens=1, concurrency=4))
    found = await Embedder(backend).aembed_documents([[f"w{n}"] for n in range(40)])

    assert most == 4
    assert_documents([expected_rows(backend, [f"w{n}"]) for n in range(40)], found)


async def test_cancelling_leaves_nothing_behind():
    """A cancelled call takes its tasks with it."""
    two = asyncio.Barrier(3)

    class Endless(FakeBackend):
        async def aembed(self, batch):
            await two.wait()
            await asyncio.Event().wait()

    backend = Endless(limits=Limits(batch_tokens=1, concurrency=2))
    before = asyncio.all_tasks()
    task = asyncio.create_task(Embedder(backend).aembed_documents([["a"], ["b"], ["c"]]))
    async with asyncio.timeout(30):
        await two.wait()  # two requests are under way
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


async def test_sync_works_inside_a_running_loop():
    """No event loop of its own, so none to collide with."""
    assert Embedder(FakeBackend()).embed_query("a").shape == (16,)


def test_many_threads_share_an_embedder():
    """Each gets its own documents back, and the usage adds up."""
    backend = FakeBackend(limits=Limits(batch_tokens=8, concurrency=2))
    embedder = Embedder(backend)
    calls = [[[f"w{n} {m}" for m in range(5)]] for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(embedder.embed_documents, calls))

    for call, rows in zip(calls, found, strict=True):
        assert_documents([expected_rows(backend, call[0])], rows)
    assert embedder.usage.tokens == 40 * (10 + 4)
    assert embedder.usage.requests == 40
    assert embedder.usage.cost is None


def test_long_chunks_are_pooled_by_tokens():
    """The mean of a cut chunk is the mean of its pieces, by their tokens."""
    backend = FakeBackend(UNTRAINED)
    settings = Settings(long_chunks="pool", encoding="float", context_weight=0)
    (rows,) = Embedder(backend, settings).embed_documents([["a", "w " * 100]])
    pieces = [window for window in backend.windows if window.share < 1]
    expected = sum(np.float32(w.share) * fake_rows(w, 16)[0] for w in pieces)

    assert [34, 33, 33] == sorted((w.tokens for w in pieces), reverse=True)
    assert np.allclose(expected, rows[1], atol=1e-6)


def test_what_needs_pooled_vectors_and_cannot_have_them():
    """Mixing and pooling are refused over a backend that gives codes only; the rest works."""
    backend = FakeBackend(forms=frozenset({"int8", "binary"}))
    for settings in (Settings(context_weight=0.5), Settings(long_chunks="pool")):
        with pytest.raises(ConfigurationError, match="codes"):
            Embedder(backend, settings)
    (rows,) = Embedder(backend).embed_documents([["a", "b"]])

    assert np.array_equal(
        rows, quantize_tanh(fake_rows(backend.windows[0], backend.spec.dimensions))
    )


def test_dimensions_beyond_the_model():
    """The message says how many there are."""
    with pytest.raises(ConfigurationError, match="16"):
        Embedder(FakeBackend(), Settings(dimensions=17))


def test_context_managers_close():
    """Leaving the block closes the backend, sync and async."""
    backend = FakeBackend()
    with Embedder(backend):
        pass

    async def leave():
        async with Embedder(backend):
            pass

    asyncio.run(leave())
    assert backend.closed == 2


@pytest.mark.parametrize("texts", ["text", ["a", ""], [None]])
def test_bad_queries(texts):
    """Named as queries."""
    with pytest.raises(InputError) as caught:
        Embedder(FakeBackend()).embed_queries(texts)

    assert "Document" not in str(caught.value)


@pytest.mark.parametrize("documents", ["text", ["a", "b"], [["a"], "b"]])
def test_flat_input_is_refused_with_the_nested_form(documents):
    """A string where a document belongs would be embedded letter by letter."""
    with pytest.raises(InputError, match=r"\[\[chunk, chunk\], \.\.\.\]"):
        Embedder(FakeBackend()).embed_documents(documents)


def test_no_message_holds_text():
    """Whatever the error, the document's words stay out of it."""
    backend = FakeBackend(UNTRAINED)
    found = Embedder(backend).stream(
        [["secret", ""], ["secret " * 50], ["secret \ud800"]], errors="return"
    )
    for error in found:
        assert isinstance(error, EmbedError)
        assert "secret" not in f"{error} {error!r}"


def test_fingerprint_of_a_backend_of_ones_own():
    """A backend that is handed over counts by the name in its spec."""
    one = Embedder(FakeBackend(), Settings(dimensions=8))

    assert one.fingerprint != Embedder(FakeBackend(UNTRAINED), Settings(dimensions=8)).fingerprint
    assert one.fingerprint != Embedder(FakeBackend()).fingerprint
    known = Settings(model="fake", dimensions=8, neighbour_weight=0)
    assert one.fingerprint == known.fingerprint()


def test_missing_backend_library_names_the_extra():
    """The message ends with the line to type."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from ctxembed import Embedder, MissingDependencyError\n"
        "try:\n    Embedder.open(model='some/model', backend='torch')\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert found.stdout.endswith('pip install "ctxembed[torch]"\n')


def test_documents_are_checked_without_the_model_as_embedding_would_refuse_them():
    backend = FakeBackend()
    embedder = Embedder(backend)
    documents = [["one", "two"], ["one", "a " * 1001], ["a", " "], ["\ud800"], [], ["fine"]]
    found = embedder.check_documents(documents)
    assert backend.batches == []
    assert [type(error) for error in found] == [
        type(None),
        DocumentTooLongError,
        EmptyChunkError,
        InputError,
        InputError,
        type(None),
    ]
    refused = embedder.stream(documents, errors="return")
    assert [str(each) for each in found if each] == [
        str(outcome) for outcome in refused if isinstance(outcome, EmbedError)
    ]
    assert [(error.document, error.chunk) for error in found[1:4]] == [(1, 1), (2, 1), (3, 0)]
    assert embedder.check_documents([]) == []
