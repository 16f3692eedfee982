"""The client against a server on a real socket: packing, order, retries, pace, and every fault."""

import asyncio
import gc
import json
import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from clock import settle
from upstream import truth

from ctxembed import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    BackendError,
    ConfigurationError,
    DocumentTooLongError,
    Embedder,
    EmbedError,
    RateLimitError,
    ResponseError,
    Settings,
)

MODEL = "pplx-embed-context-v1-0.6b"
DOCUMENTS = [
    [f"document {number} chunk {chunk}" for chunk in range(1 + number % 5)] for number in range(40)
]


def opened(**options):
    return Embedder.open(backend="api", **({"model": MODEL, "dimensions": 128} | options))


def assert_right(documents, rows, dimensions=128):
    assert len(documents) == len(rows)
    for document, array in zip(documents, rows, strict=True):
        expected = [truth(document, chunk, dimensions) for chunk in range(len(document))]
        assert np.array_equal(expected, array)


def test_rows_are_put_in_order(api):
    """The server shuffles both levels; every chunk gets its own row, sync, async and streamed."""
    with opened() as embedder:
        assert_right(DOCUMENTS, embedder.embed_documents(DOCUMENTS))
        assert_right(DOCUMENTS, list(embedder.stream(iter(DOCUMENTS))))
        assert_right(DOCUMENTS, asyncio.run(embedder.aembed_documents(DOCUMENTS)))


@pytest.mark.parametrize(
    "model", ["pplx-embed-context-v1-0.6b", "perplexity-ai/pplx-embed-context-v1-4b"]
)
@pytest.mark.parametrize("dimensions", [None, 128, 301])
@pytest.mark.parametrize("encoding", ["int8", "binary", "ubinary", "float"])
def test_encodings_and_dimensions(api, model, dimensions, encoding):
    """Codes are the decoded bytes; bits come least significant first and leave the other way."""
    width = dimensions or {"6b": 1024, "4b": 2560}[model[-2:]]
    with opened(model=model, dimensions=dimensions, encoding=encoding) as embedder:
        (rows,) = embedder.embed_documents([["a", "b"]])
    codes = np.stack([truth(["a", "b"], chunk, width) for chunk in range(2)])
    expected = {
        "int8": codes,
        "float": codes.astype(np.float32) / np.float32(127),
        "binary": np.where(codes >= 0, 1, -1),
        "ubinary": np.packbits(codes >= 0, axis=1),
    }[encoding]

    assert np.array_equal(expected, rows)
    body = api.requests[0][2]
    assert body.get("dimensions") == dimensions
    bits = encoding in ("binary", "ubinary")
    assert body["encoding_format"] == ("base64_binary" if bits else "base64_int8")


def test_queries_are_documents_of_their_own(api):
    """Several share a request, and never see each other."""
    with opened() as embedder:
        rows = embedder.embed_queries(["one", "two"])

    assert api.requests[0][2]["input"] == [["one"], ["two"]]
    assert np.array_equal(rows, [truth(["one"], 0, 128), truth(["two"], 0, 128)])


def test_independent_models_have_their_own_route(api):
    """Each chunk is a text of its own, of which 512 share a request."""
    documents = [[f"{number} {chunk}" for chunk in range(60)] for number in range(20)]
    with opened(model="pplx-embed-v1-0.6b") as embedder:
        rows = embedder.embed_documents(documents)

    assert {"/v1/embeddings"} == {path for _, path, _ in api.requests}
    sizes = [len(body["input"]) for _, _, body in api.requests]
    assert (sum(sizes), len(sizes)) == (1200, 3)
    assert max(sizes) <= 512
    for document, array in zip(documents, rows, strict=True):
        assert np.array_equal([truth([chunk], 0, 128) for chunk in document], array)


def test_requests_are_full_and_within_the_limits(api):
    """512 documents, 16,000 chunks, 32,768 tokens per document, 120,000 tokens per request."""
    rng = random.Random(0)
    documents = [["word " * rng.randint(1, 300)] * rng.randint(1, 60) for _ in range(300)]
    documents += [["x"] for _ in range(1500)]
    with opened() as embedder:
        tokens = [embedder.backend.tokenize(document) for document in documents]
        rows = embedder.embed_documents(documents)
    counted = {
        id(d): sum(c.count for c in t) + len(d) - 1 for d, t in zip(documents, tokens, strict=True)
    }

    assert_right(documents, rows)
    sizes = []
    for _, _, body in api.requests:
        assert len(body["input"]) <= 512
        assert sum(map(len, body["input"])) <= 16_000
        sizes.append(
            sum(
                sum(c.count for c in embedder.backend.tokenize(d)) + len(d) - 1
                for d in body["input"]
            )
        )
    assert max(sizes) <= 120_000
    assert len(sizes) <= 2 * 16 + 4 + sum(counted.values()) / 60_000


def test_long_documents_are_windowed(api):
    """A document of 50,000 tokens is three windows, and every chunk comes back."""
    document = [f"{number} " + "word " * 99 for number in range(400)]
    with opened() as embedder:
        (rows,) = embedder.embed_documents([document])
    windows = [d for _, _, body in api.requests for d in body["input"]]

    assert rows.shape == (400, 128)
    assert len(windows) > 1
    truths = {
        truth(window, number, 128).tobytes(): chunk
        for window in windows
        for number, chunk in enumerate(window)
    }
    assert document == [truths[row.tobytes()] for row in rows]


def test_headers(api):
    """The key as a bearer, and who is calling."""
    with opened(base_url=None) as embedder:
        embedder.embed_query("q")
    (headers,) = api.headers

    assert headers["Authorization"] == "Bearer secret-key"
    assert headers["X-Pplx-Integration"].startswith("ctxembed/")


def test_a_proxy_from_the_environment_is_used(api, monkeypatch):
    """As the HTTP library has them: the request comes to the proxy with its whole address."""
    import os

    monkeypatch.setenv("HTTP_PROXY", os.environ["PERPLEXITY_BASE_URL"])
    monkeypatch.delenv("NO_PROXY", raising=False)

    def proxy(handler, body):
        prefix = "http://embeddings.invalid"
        assert handler.path.startswith(prefix)
        handler.path = handler.path.removeprefix(prefix)

    api.always = proxy
    with opened(base_url="http://embeddings.invalid") as embedder:
        assert np.array_equal(truth(["q"], 0, 128), embedder.embed_query("q"))


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_base_url_with_or_without_version(api, monkeypatch, suffix):
    """Both forms reach the same route."""
    import os

    url = os.environ["PERPLEXITY_BASE_URL"] + suffix
    monkeypatch.delenv("PERPLEXITY_BASE_URL")
    with opened(base_url=url) as embedder:
        assert embedder.embed_query("q").shape == (128,)


@pytest.mark.parametrize("name", ["PERPLEXITY_API_KEY", "PPLX_API_KEY", "PERPLEXITYAI_API_KEY"])
def test_the_key_may_have_three_names(api, monkeypatch, name):
    """In the environment; an argument goes first."""
    monkeypatch.delenv("PERPLEXITY_API_KEY")
    with pytest.raises(ConfigurationError, match="PERPLEXITY_API_KEY"):
        opened()
    monkeypatch.setenv(name, "from-environment")
    with opened() as embedder:
        embedder.embed_query("q")
    with opened(api_key="argument") as embedder:
        embedder.embed_query("q")

    keys = [headers["Authorization"] for headers in api.headers]
    assert keys == ["Bearer from-environment", "Bearer argument"]


# ---- faults -----------------------------------------------------------------------------------


def edited(change):
    """Answer with a right body after a change."""

    def fault(handler, body):
        from upstream import reply

        answer = reply(handler.path, body)
        changed = change(answer)
        return handler.answer(200, json.dumps(answer if changed is None else changed))

    return fault


def answered(status, text="", **options):
    return lambda handler, body: handler.answer(status, text, **options)


def drop_row(answer):
    del answer["data"][0]["data"][0]


def extra_row(answer):
    answer["data"][0]["data"].append({**answer["data"][0]["data"][0], "index": 99})


def twice(answer):
    answer["data"][0]["data"][0]["index"] = answer["data"][0]["data"][1]["index"]


def short_row(answer):
    answer["data"][0]["data"][0]["embedding"] = "AAAA"


def not_base64(answer):
    answer["data"][0]["data"][0]["embedding"] = "!" * 172


def empty_row(answer):
    answer["data"][0]["data"][0]["embedding"] = ""


def floats(answer):
    answer["data"][0]["data"][0]["embedding"] = [0.5] * 128


def drop_document(answer):
    del answer["data"][0]


def drop_data(answer):
    del answer["data"]


WRONG_BODIES = [
    drop_row,
    extra_row,
    twice,
    short_row,
    not_base64,
    empty_row,
    floats,
    drop_document,
    drop_data,
    lambda _: [],
    lambda _: "text",
    lambda _: {"data": None},
]


@pytest.mark.parametrize("change", WRONG_BODIES)
def test_a_wrong_body_is_never_a_vector(api, change):
    """One error that says what came back; the request isn't repeated."""
    api.always = edited(change)
    with opened() as embedder, pytest.raises(ResponseError):
        embedder.embed_documents([["a", "b"], ["c", "d"]])

    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        answered(200, "<html>hello</html>", kind="text/html"),
        answered(200, "", kind="application/json"),
        answered(200, "{", kind="application/json"),
        answered(200, b"\xff\xfe", kind="application/json"),
    ],
)
def test_what_is_no_json_is_a_response_error(api, fault):
    """HTML, nothing, half a body."""
    api.always = fault
    with opened() as embedder, pytest.raises(ResponseError):
        embedder.embed_query("q")


TRANSIENT = [
    answered(408),
    answered(409),
    answered(429),
    answered(429, headers={"retry-after": "0.01"}),
    answered(429, headers={"retry-after-ms": "10"}),
    answered(500, "<html>oops</html>", kind="text/html"),
    answered(502),
    answered(503, json.dumps({"error": {"message": "busy", "code": "503"}})),
    answered(400, headers={"x-should-retry": "true"}),
    lambda handler, body: handler.cut(),
    lambda handler, body: half_a_body(handler),
]


def half_a_body(handler):
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    return handler.cut()


@pytest.mark.parametrize("fault", TRANSIENT)
def test_what_may_pass_is_tried_again(api, fault):
    """Two failures, then the right answer: the caller sees nothing of it."""
    api.next = [fault, fault]
    with opened() as embedder:
        assert_right([["a", "b"]], embedder.embed_documents([["a", "b"]]))

    assert len(api.requests) == 3


FINAL = [
    (400, {"error": {"message": "Invalid model x", "code": None}}, ApiError, "Invalid model x"),
    (
        400,
        {"error": {"message": "bad", "type": "invalid_request", "code": "400"}},
        ApiError,
        "bad",
    ),
    (401, {"error": {"message": "no such key", "code": 401}}, AuthenticationError, "no such key"),
    (403, {}, AuthenticationError, "403"),
    (404, None, ApiError, r"404.*Hint: check base_url\."),
    (
        422,
        {"detail": [{"loc": ["body", "model"], "msg": "is odd", "input": "SECRET"}]},
        ApiError,
        "is odd",
    ),
    (422, {"detail": "flat words"}, ApiError, "flat words"),
    (400, ["list"], ApiError, "400"),
]


@pytest.mark.parametrize(("status", "body", "cls", "words"), FINAL)
def test_what_will_not_pass_is_said_at_once(api, status, body, cls, words):
    """Status, request id, and the server's reason in one line; never what was sent."""
    text = "" if body is None else json.dumps(body)
    api.always = answered(status, text, headers={"x-request-id": "r-1"})
    with opened() as embedder, pytest.raises(cls, match=words) as caught:
        embedder.embed_query("q")

    assert (caught.value.status_code, caught.value.request_id) == (status, "r-1")
    assert "SECRET" not in str(caught.value)
    assert "secret-key" not in str(caught.value)
    assert len(api.requests) == 1


def test_the_server_may_forbid_a_retry(api):
    """`x-should-retry: false` has the last word."""
    api.always = answered(500, headers={"x-should-retry": "false"})
    with opened() as embedder, pytest.raises(ApiError):
        embedder.embed_query("q")

    assert len(api.requests) == 1


def test_retries_end(api):
    """After max_retries the last error comes out."""
    api.always = answered(429, headers={"retry-after-ms": "1"})
    with opened(max_retries=2) as embedder, pytest.raises(RateLimitError) as caught:
        embedder.embed_query("q")

    assert len(api.requests) == 3
    assert caught.value.retry_after == pytest.approx(0.001)


def test_a_wait_that_is_too_long_is_not_waited_for(api, clock):
    """All attempts together have a time limit; the error says how long the server wants."""
    api.always = answered(429, headers={"retry-after": "3600"})
    with opened(timeout=1) as embedder, pytest.raises(RateLimitError) as caught:
        embedder.embed_query("q")

    assert caught.value.retry_after == 3600
    assert clock.waits == []
    assert len(api.requests) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(api, clock, form):
    """In seconds and as a date, and by all workers together."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    wait = "40" if form == "seconds" else later
    clock.held = True
    began = clock.now
    times = []

    def slow(handler, body):
        clock.wait_for_waits(1)  # the refusal has arrived

    api.next = [answered(429, headers={"retry-after": wait}), slow]
    api.always = lambda handler, body: times.append(clock.now)
    with ThreadPoolExecutor(1) as pool, opened(batch_tokens=1, concurrency=2) as embedder:
        found = pool.submit(embedder.embed_documents, DOCUMENTS)
        clock.wait_for_waits(2)  # the refused request, and the next one with it
        waits = list(clock.waits)
        clock.advance(max(waits))
        assert_right(DOCUMENTS, found.result())

    assert all(20 < wait <= 50 for wait in waits)
    assert min(times) >= began + min(waits)
    assert len(times) == len(DOCUMENTS) - 1


def test_one_slow_request_holds_up_no_other(api):
    """All others are answered while it takes its time; the order of results stays."""
    done = threading.Event()

    def wait(handler, body):
        assert done.wait(20)

    def count(handler, body):
        if len(api.requests) == len(DOCUMENTS):
            done.set()

    api.next, api.always = [wait], count
    with opened(batch_tokens=1) as embedder:
        assert_right(DOCUMENTS, embedder.embed_documents(DOCUMENTS))


def test_slow_and_hanging_answers_end(api, clock):
    """No answer within the time of an attempt, also when bytes keep dripping."""

    def drip(handler, body):
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.close_connection = True
        for _ in range(10):
            clock.advance(0.1)
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return True
        return handler.wait_for_hang_up()

    def hang(handler, body):
        clock.advance(0.3)
        return handler.wait_for_hang_up()

    for fault in (drip, hang):
        api.always = fault
        api.requests.clear()
        with opened(timeout=0.3, max_retries=1) as embedder, pytest.raises(ApiTimeoutError):
            embedder.embed_query("q")
        assert len(api.requests) == 2


def test_nobody_listens(monkeypatch):
    """A connection that is refused names the address."""
    monkeypatch.setenv("PERPLEXITY_API_KEY", "k")
    with (
        opened(base_url="http://127.0.0.1:9", max_retries=1) as embedder,
        pytest.raises(ApiConnectionError, match=r"127\.0\.0\.1:9"),
    ):
        embedder.embed_query("q")


def test_every_error_of_the_http_library_is_ours():
    """Walks its classes, so that a new one doesn't slip through."""
    import httpx

    from ctxembed.backends.api.client import translated
    from ctxembed.backends.api.endpoint import Endpoint

    endpoint = Endpoint(
        base_url="http://127.0.0.1", api_key="k", timeout=1, max_retries=0, concurrency=1
    )
    classes = {
        cls
        for cls in vars(httpx).values()
        if isinstance(cls, type) and issubclass(cls, Exception) and cls is not httpx.CookieConflict
    }
    for cls in classes - {httpx.HTTPStatusError}:
        error = cls.__new__(cls)
        assert isinstance(translated(error, endpoint), ApiError), cls


def too_long(limit):
    def fault(handler, body):
        words = sum(len(chunk.split()) for document in body["input"] for chunk in document)
        if words <= limit:
            return None
        return handler.answer(
            400, json.dumps({"error": {"message": "Too many tokens in request."}})
        )

    return fault


def test_too_long_is_split_until_it_fits(api):
    """The server counts otherwise: everything comes back, and later requests are smaller."""
    documents = [["word " * 900] * 3 for _ in range(60)]
    api.always = too_long(30_000)
    with opened(concurrency=1) as embedder:
        assert_right(documents, embedder.embed_documents(documents))
        learned = embedder.backend.limits.batch_tokens

    assert learned < 120_000


def test_what_is_learned_cuts_no_document_otherwise(api):
    """The windows of a long document are the same before and after a refusal."""
    document = [f"{number} " + "word " * 99 for number in range(800)]

    def windows(embedder):
        api.requests.clear()
        (rows,) = embedder.embed_documents([document])
        sent = [window for _, _, body in api.requests for window in body["input"]]
        return sorted(sent), rows

    with opened(concurrency=1) as embedder:
        before = windows(embedder)
        api.next = [too_long(0)]
        embedder.embed_documents([["word " * 25_000]] * 4)
        assert embedder.backend.limits.batch_tokens < 120_000
        after = windows(embedder)

    assert len(before[0]) > 2
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])


def test_one_window_that_is_refused_is_named(api):
    """The document with its number, the remedy, and the others unharmed."""
    documents = [["a b"], ["word " * 200], ["c d"]]
    api.always = too_long(100)
    with opened() as embedder:
        with pytest.raises(
            DocumentTooLongError, match=r"Document 1, chunk 0: .*split the chunk\.$"
        ):
            embedder.embed_documents(documents)
        found = list(embedder.stream(documents, errors="return"))

    assert [isinstance(item, DocumentTooLongError) for item in found] == [False, True, False]


def test_pace_starts_low_and_grows(api, clock):
    """Four at once at first, more while all goes well, never more than asked for."""
    go_on = threading.Event()

    def slow(handler, body):
        assert go_on.wait(30)

    api.always = slow
    documents = [[f"w{number}"] for number in range(200)]
    with ThreadPoolExecutor(1) as pool, opened(batch_tokens=1, concurrency=8) as embedder:
        found = pool.submit(embedder.embed_documents, documents)
        api.wait_for_requests(4)
        clock.advance(0.01)
        assert api.most_under_way == 4
        clock.advance(0.01)
        api.wait_for_requests(8)
        go_on.set()
        assert_right(documents, found.result())

    assert api.most_under_way == 8


def test_pace_halves_when_refused(clock):
    """Once for all requests of one jam, down to one, and up again by successes."""
    from ctxembed.backends.api.concurrency import ConcurrencyLimiter

    async def run():
        limiter = ConcurrencyLimiter(16)
        assert limiter.limit == 4
        began = asyncio.get_running_loop().time()
        for _ in range(5):
            limiter.refused(began, 0)
        assert limiter.limit == 2
        for _ in range(500):
            limiter.succeeded()
        assert limiter.limit == 16
        for _ in range(9):
            clock.now += 0.001
            limiter.refused(asyncio.get_running_loop().time(), 0)
        assert limiter.limit == 1

    clock.run(run())


def test_pace_doubles_untouched_and_no_more_once_refused(clock):
    """4, 8, 16 at once within 40 ms where answers take longer; once refused, only answers count."""
    from ctxembed.backends.api.concurrency import ConcurrencyLimiter

    async def run(*, refused):
        limiter = ConcurrencyLimiter(16)
        if refused:
            limiter.refused(0.0, 0)
        seen = []
        over = asyncio.Event()

        async def request():
            async with limiter.slot():
                seen.append(limiter.limit)
                await over.wait()

        tasks = [asyncio.create_task(request()) for _ in range(40)]
        for _ in range(2):
            await settle()
            clock.now += 0.02
        await settle()
        under_way, most = limiter.in_flight, list(seen)
        over.set()
        await asyncio.gather(*tasks)
        assert (limiter.in_flight, len(seen)) == (0, 40)
        return under_way, most

    assert clock.run(run(refused=False)) == (16, [4] * 4 + [8] * 4 + [16] * 8)
    assert clock.run(run(refused=True)) == (2, [2, 2])


def test_a_third_of_all_requests_fails(api):
    """10,000 documents come back complete and right."""
    rng = random.Random(1)
    faults = [*TRANSIENT]

    def unlucky(handler, body):
        with api.lock:
            fault = rng.choice(faults) if rng.random() < 1 / 3 else None
        return fault(handler, body) if fault else None

    api.always = unlucky
    documents = [[f"{n} {c}" for c in range(1 + n % 3)] for n in range(10_000)]
    with opened(batch_tokens=400, max_retries=30) as embedder:
        rows = embedder.embed_documents(documents)

    assert_right(documents, rows)
    assert len(api.requests) > 100


def test_only_the_failed_request_is_repeated(api):
    """What has an answer isn't sent again."""
    api.next = [answered(500)]
    with opened(batch_tokens=1) as embedder:
        embedder.embed_documents(DOCUMENTS)

    assert len(api.requests) == len(DOCUMENTS) + 1


def test_usage_is_the_servers(api):
    """Its own token count; the price table's cost where it gives none."""
    with opened() as embedder:
        embedder.embed_documents([["one two", "three"], ["four"]])

        assert embedder.usage.tokens == 4
        assert embedder.usage.requests == 1
        assert embedder.usage.cost == pytest.approx(4 * 0.008 / 1e6)
    api.always = edited(
        lambda a: a["usage"].update(cost={"total_cost": 0.5, "input_cost": 0.5, "currency": "USD"})
    )
    with opened() as embedder:
        embedder.embed_query("q")
        assert embedder.usage.cost == 0.5


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "text",
        [],
        {"prompt_tokens": -5, "cost": {"total_cost": -1}},
        {"prompt_tokens": "7", "total_tokens": True, "cost": 3},
        {"cost": {"total_cost": "0.1"}},
    ],
)
def test_usage_that_is_none_costs_no_vectors(api, usage):
    """Then what was sent counts, by the estimate and the price table."""
    api.always = edited(lambda answer: answer.update(usage=usage))
    with opened() as embedder:
        assert_right([["one two"]], embedder.embed_documents([["one two"]]))

        assert embedder.usage.tokens == embedder.backend.tokenize(["one two"])[0].count
        assert embedder.usage.cost == pytest.approx(embedder.usage.tokens * 0.008 / 1e6)


def test_threads_and_loops_share_an_embedder(api):
    """Many threads, and two event loops, at once."""
    with opened(batch_tokens=20) as embedder:
        found = {}

        def plain(number):
            found[number] = embedder.embed_documents(DOCUMENTS)

        def looped(number):
            found[number] = asyncio.run(embedder.aembed_documents(DOCUMENTS))

        threads = [
            threading.Thread(target=looped if number % 2 else plain, args=(number,))
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 6
    for rows in found.values():
        assert_right(DOCUMENTS, rows)


async def test_cancelling_ends_the_request(api):
    """A cancelled task doesn't wait for the answer, and the next call works."""
    gone = threading.Event()

    def hang(handler, body):
        handler.wait_for_hang_up()
        gone.set()
        return True

    api.next = [hang]
    async with opened() as embedder:
        task = asyncio.create_task(embedder.aembed_query("q"))
        await asyncio.to_thread(api.wait_for_requests, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gone.wait, 30)
        assert (await embedder.aembed_query("r")).shape == (128,)


def test_close_leaves_no_thread_and_no_second_use(api):
    """Closing twice is fine; using it afterwards says so."""
    before = threading.active_count()
    embedder = opened()
    embedder.embed_query("q")
    embedder.close()
    assert "ctxembed-api" not in {thread.name for thread in threading.enumerate()}
    embedder.close()
    gc.collect()

    api.wait_for_threads()
    assert threading.active_count() == before
    with pytest.raises(BackendError, match="closed"):
        embedder.embed_query("q")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimensions": 127}, "128 to 1024"),
        ({"dimensions": 1025}, "128 to 1024"),
        ({"dimensions": 2561, "model": "pplx-embed-v1-4b"}, "128 to 2560"),
        ({"model": "minilm", "dimensions": None}, "no model 'minilm'|ONNX"),
        ({"model": "gpt", "dimensions": None}, "has no model"),
        ({"context_weight": 0.5}, "codes"),
        ({"neighbour_weight": 0.2}, "codes"),
        ({"long_chunks": "pool"}, "codes"),
        ({"base_url": "ftp://127.0.0.1"}, "http"),
        ({"base_url": "http://user:pass@127.0.0.1"}, "password"),
        ({"device": "cuda"}, "device"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"pooling": "mean"}, "pooling"),
        ({"revision": "main"}, "revision"),
        ({"timeout": 0}, "timeout"),
        ({"concurrency": 0}, "concurrency"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_sent(api, options, words):
    """Nothing is left unread in silence."""
    with pytest.raises(ConfigurationError, match=words):
        opened(**options)

    assert not api.requests


def test_settings_of_the_api_mean_nothing_to_local_weights():
    """And say so."""
    for name, value in {"base_url": "http://127.0.0.1", "timeout": 3, "concurrency": 2}.items():
        with pytest.raises(ConfigurationError, match=name):
            Embedder.open(model="minilm", **{name: value})
    with pytest.raises(ConfigurationError, match="api_key"):
        Embedder.open(model="minilm", api_key="k")


def test_no_key_and_no_text_anywhere(api, caplog):
    """Not in a repr, a log line, an error, or the settings."""
    caplog.set_level(logging.DEBUG)
    api.always = answered(500, json.dumps({"error": {"message": "confidential words failed"}}))
    with opened(max_retries=1) as embedder, pytest.raises(EmbedError) as caught:
        embedder.embed_documents([["confidential words"]])
    shown = " ".join(
        [
            repr(embedder.backend),
            repr(vars(embedder.backend)),
            repr(embedder.settings),
            caplog.text,
            str(caught.value),
            repr(caught.value),
        ]
    )

    assert "secret-key" not in shown
    assert "confidential" not in shown
    assert isinstance(embedder.settings, Settings)
