"""What once went wrong with the client: waits, secrets, closing, forks, mistaken words."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from upstream import truth

from ctxembed import (
    ApiError,
    ApiTimeoutError,
    BackendError,
    ConfigurationError,
    DocumentTooLongError,
    Embedder,
    RateLimitError,
    ResponseError,
)


def opened(**options):
    return Embedder.open(backend="api", **({"dimensions": 128} | options))


def answered(status, body="", **options):
    text = body if isinstance(body, str) else json.dumps(body)
    return lambda handler, _: handler.answer(status, text, **options)


def said(status, words):
    return answered(status, {"error": {"message": words}})


@pytest.mark.parametrize("wait", ["20", "1000000000"])
def test_a_long_wait_of_one_call_holds_up_no_other(api, clock, wait):
    """The first call gives up at once; the next asks within the time of an attempt."""
    api.next = [answered(429, headers={"retry-after": wait})]
    with opened(timeout=0.5) as embedder:
        with pytest.raises(RateLimitError):
            embedder.embed_query("q")
        assert clock.waits == []
        assert np.array_equal(truth(["r"], 0, 128), embedder.embed_query("r"))
        assert clock.waits == [pytest.approx(0.5)]


def test_all_attempts_together_have_a_limit(api, clock):
    """Ten times the timeout, and not for ever: here 2 seconds, which a fifth wait may go beyond."""
    api.always = answered(503, headers={"retry-after": "0.4"})
    with opened(timeout=0.2, max_retries=1000) as embedder, pytest.raises(ApiError):
        embedder.embed_query("q")

    assert all(0.4 <= wait <= 0.5 for wait in clock.waits)
    assert sum(clock.waits) <= 2 < sum(clock.waits) + 0.5


def test_attempts_that_take_long_count_towards_the_limit(api, clock):
    """Each takes 0.9 of at most 1 second: the limit of 10 seconds leaves room for 11."""

    def slow(handler, body):
        clock.advance(0.9)
        return handler.answer(503, "", headers={"retry-after": "0.01"})

    api.always = slow
    with opened(timeout=1, max_retries=1000) as embedder, pytest.raises(ApiError):
        embedder.embed_query("q")

    assert len(api.requests) == 11


async def test_waiting_for_a_turn_is_no_attempt(api, clock):
    """A request that stood in a queue for 5.4 s, of a limit of 5, is repeated like any other."""
    queued = threading.Event()

    def slow(handler, body):
        assert queued.wait(30)
        clock.advance(0.45)
        return handler.answer(500, "") if len(api.requests) == 13 else None

    api.always = slow
    async with opened(timeout=0.5, concurrency=1) as embedder:
        calls = [asyncio.create_task(embedder.aembed_query(f"w{n}")) for n in range(13)]
        await asyncio.to_thread(api.wait_for_requests, 1)
        await asyncio.to_thread(clock.advance, 0)  # the other calls stand in the queue then
        queued.set()
        await asyncio.gather(*calls)

    assert len(api.requests) == 14


def test_growing_while_nothing_is_refused(api):
    """Answers take their time: all requests are under way before the first answer."""
    everyone = threading.Barrier(16)

    def slow(handler, body):
        everyone.wait(30)

    api.always = slow
    with opened(batch_tokens=1, concurrency=16) as embedder:
        embedder.embed_documents([[f"w{n}"] for n in range(16)])

    assert api.most_under_way == 16


SECRETS = [
    (said(401, "Incorrect API key provided: secret-key"), "secret-key"),
    (said(400, "cannot read 'Anna PIN 4711 Bonn'"), "4711"),
    (said(400, "cannot read 'Anna\\nPIN 4711\\nBonn'"), "4711"),
    (said(400, "bad input: " + ascii("Анна живёт в Бонне")), "0430"),
]


@pytest.mark.parametrize(("fault", "secret"), SECRETS)
def test_the_server_repeats_key_or_text(api, fault, secret):
    """The message doesn't."""
    api.always = fault
    with opened() as embedder, pytest.raises((ApiError, DocumentTooLongError)) as caught:
        embedder.embed_documents([["Anna\nPIN 4711\nBonn", "Анна живёт в Бонне"]])

    assert secret not in str(caught.value)


def test_no_password_in_the_environments_address(monkeypatch):
    """It would go out in place of the key, and stand in messages."""
    monkeypatch.setenv("PERPLEXITY_BASE_URL", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("PERPLEXITY_API_KEY", "k")
    with pytest.raises(ConfigurationError) as caught:
        opened()

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["two\nlines", "two words", "käse"])
def test_a_key_that_no_header_takes(api, key):
    """Refused before anything is sent, without being repeated."""
    with pytest.raises(ConfigurationError) as caught:
        opened(api_key=key)

    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "You exceeded your current quota",
        "dimensions 128 exceeds what this model has",
        "rate limit exceeded",
        "invalid model for input 'revenue exceeds the token limit'",
    ],
)
def test_a_refusal_for_another_reason_is_not_too_long(api, words):
    """One request, and the server's reason."""
    api.always = said(400, words)
    documents = [["revenue exceeds the token limit"]] * 8
    with opened(concurrency=1) as embedder, pytest.raises(ApiError):
        embedder.embed_documents(documents)

    assert len(api.requests) == 1


@pytest.mark.parametrize(
    "words",
    [
        "Input has too many tokens: 40000 > 32768",
        "This model's maximum context length is 32768 tokens",
        "The document exceeds the limit of 32768 tokens",
        "input too long",
    ],
)
def test_too_long_in_other_words(api, words):
    """However the server puts it, also when it says that a retry may help."""
    api.always = lambda handler, _: handler.answer(
        400, json.dumps({"error": {"message": words}}), headers={"x-should-retry": "true"}
    )
    with opened() as embedder, pytest.raises(DocumentTooLongError):
        embedder.embed_query("q")

    assert len(api.requests) == 1


def test_one_bad_document_does_not_make_all_requests_small(api):
    """Three tiny documents say nothing of how much fits."""
    api.next = [said(400, "too many tokens")]
    with opened() as embedder:
        embedder.embed_documents([["a"], ["b"], ["c"]])

        assert embedder.backend.limits.batch_tokens == 120_000


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"error":' + "[" * 100_000,
        {"detail": [{"loc": None, "msg": "x"}]},
        {"detail": [{"loc": 5}, None, 3]},
    ],
)
def test_a_body_that_is_no_body(api, body):
    """Is an error of ours, and a 500 is still tried again."""
    api.next = [answered(500, body)]
    with opened() as embedder:
        assert embedder.embed_query("q").shape == (128,)


def test_an_answer_nested_too_deeply(api):
    """Is no vector, and no crash."""
    api.always = answered(200, '{"data": [], "more": ' + "[" * 200_000 + "]" * 200_000 + "}")
    with opened() as embedder, pytest.raises(ResponseError):
        embedder.embed_query("q")


def test_closing_while_requests_are_under_way(api):
    """Is an error of ours for whoever waits, and fine for several closers."""
    api.always = lambda handler, _: handler.wait_for_hang_up()
    embedder = opened()
    found = []

    def ask():
        try:
            embedder.embed_query("q")
        except BackendError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    api.wait_for_requests(1)
    closers = [threading.Thread(target=embedder.close) for _ in range(3)]
    for closer in closers:
        closer.start()
    for each in (*closers, thread):
        each.join(30)
        assert not each.is_alive()
    api.wait_for_threads()

    assert "closed" in str(found[0])


async def test_closing_is_no_cancellation_of_others(api):
    """A task that waits gets an error, not a cancellation that nobody asked for."""
    api.always = lambda handler, _: handler.wait_for_hang_up()
    embedder = opened()
    task = asyncio.create_task(embedder.aembed_query("q"))
    await asyncio.to_thread(api.wait_for_requests, 1)
    await embedder.aclose()
    with pytest.raises(BackendError, match="closed"):
        await task
    await asyncio.to_thread(api.wait_for_threads)


def test_an_interrupt_does_not_wait_for_retries(api):
    """Ctrl-C comes out while a request is under way that nobody answers."""
    code = (
        "from ctxembed import Embedder\n"
        "Embedder.open(backend='api', timeout=3600).embed_query('q')\n"
    )
    api.always = lambda handler, _: api.closing.wait()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as child:
        try:
            api.wait_for_requests(1)
            child.send_signal(signal.SIGINT)
            _, told = child.communicate(timeout=30)
        finally:
            child.kill()
    assert not api.closing.is_set()

    assert b"KeyboardInterrupt" in told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forks_while_others_are_busy(api):
    """A child made while threads talk to the API can talk to it as well."""
    code = """
import os, sys, threading
from ctxembed import Embedder
embedder = Embedder.open(backend="api", dimensions=128)
embedder.embed_query("q")  # a fork in the middle of an import hangs in Python itself
stop = threading.Event()
def ask():
    while not stop.is_set():
        embedder.embed_query("q")
threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(10):
    child = os.fork()
    if not child:
        embedder.embed_query("r")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
embedder.close()
"""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60, capture_output=True
    )


def test_prefixes_count_in_requests(api):
    """512 documents behind 1,000 tokens each don't fit into one request."""
    with opened(document_prefix="word " * 1000) as embedder:
        embedder.embed_documents([[f"{n}", "x"] for n in range(600)])
        for _, _, body in api.requests:
            tokens = [c.count for d in body["input"] for c in embedder.backend.tokenize(d)]
            assert sum(tokens) <= 125_000


def test_an_estimate_refuses_nothing_that_may_fit(api):
    """24,000 characters of Chinese may be 12,000 tokens: the server decides."""
    with opened() as embedder:
        assert embedder.embed_query("中文" * 12_000).shape == (128,)
        with pytest.raises(DocumentTooLongError):
            embedder.embed_query("word " * 120_000)


def test_what_takes_too_long_is_divided_until_it_fits(api, clock):
    """A server's time grows with the tokens: work shrinks, and every row comes back."""

    def slow(handler, body):
        words = sum(len(chunk.split()) for document in body["input"] for chunk in document)
        if words <= 8:
            return None
        clock.advance(0.5)
        return handler.wait_for_hang_up()

    api.always = slow
    documents = [[f"a{n} b", "c d"] for n in range(16)]
    with opened(timeout=0.25, max_retries=1, concurrency=1) as embedder:
        rows = embedder.embed_documents(documents)

    for document, array in zip(documents, rows, strict=True):
        assert np.array_equal([truth(document, n, 128) for n in (0, 1)], array)
    sizes = [len(body["input"]) for _, _, body in api.requests]
    assert sizes == [16, 8, 4, 2, 2, 4, 2, 2, 8, 4, 2, 2, 4, 2, 2]


def test_what_takes_too_long_is_tried_once_where_no_retry_is_allowed(api, clock):
    def hang(handler, body):
        clock.advance(0.5)
        return handler.wait_for_hang_up()

    api.always = hang
    with opened(timeout=0.2, max_retries=0) as embedder, pytest.raises(ApiTimeoutError):
        embedder.embed_documents([["a"], ["b"]])

    assert len(api.requests) == 1


def test_no_answer_in_time_halves_what_is_under_way(api, clock):
    """Once for all that time out together."""
    everyone = threading.Barrier(4, action=lambda: clock.advance(0.5))

    def hang(handler, body):
        everyone.wait(30)
        return handler.wait_for_hang_up()

    api.next = [hang] * 4
    with opened(timeout=0.2, batch_tokens=1, concurrency=4) as embedder:
        embedder.embed_documents([[f"w{n}"] for n in range(4)])
        after = api.requests[4:]
        pace = embedder.backend._loop.submit(_pace).result()

    assert len(after) == 4
    assert 3.5 < pace < 4  # 2, and after four answers 2 + 1/2 + 1/2.5 + ...; 3.2 from 1


async def _pace(client):
    return client._limiter.limit


@pytest.mark.parametrize("key", ["x", "token", "maximum"])
def test_a_short_key_changes_no_message_and_no_class(api, key):
    words = "Input has too many tokens: the maximum is exact."
    api.always = said(400, words)
    with (
        opened(api_key=key) as embedder,
        pytest.raises(DocumentTooLongError, match=words),
    ):
        embedder.embed_query("q")


def test_a_long_key_is_left_out_and_changes_no_class(api):
    api.always = said(400, "token-maximum-1 exceeds its limit")
    with (
        opened(api_key="token-maximum-1") as embedder,
        pytest.raises(DocumentTooLongError, match=r"400: \.\.\. exceeds its limit\."),
    ):
        embedder.embed_query("q")


@pytest.mark.parametrize(
    ("words", "chunk", "tokens", "limit", "message"),
    [
        (
            "Document 0, chunk 1: has 1,040 tokens; the maximum is 510.",
            1,
            1040,
            510,
            "Document 1, chunk 1: has 1040 tokens and the server reads 510. Hint: split the chunk.",
        ),
        (
            (
                "Document 0 has 40,000 tokens, separators between its chunks included; the maximum "
                "is 32,768."
            ),
            None,
            40_000,
            32_768,
            (
                "Document 1: has 40000 tokens and the server reads 32768. Hint: set a smaller "
                "window_tokens."
            ),
        ),
        (
            "Document 0, chunk 1: too many tokens.",
            None,
            None,
            None,
            (
                "Document 1: the server answered 400: too many tokens. Hint: set a smaller "
                "window_tokens."
            ),
        ),
    ],
)
def test_what_a_server_says_of_length_has_the_callers_numbers(
    api, words, chunk, tokens, limit, message
):
    def refuse(handler, body):
        long = any("long" in document for document in body["input"])
        return said(400, words)(handler, body) if long else None

    api.always = refuse
    with opened() as embedder, pytest.raises(DocumentTooLongError) as caught:
        embedder.embed_documents([["a"], ["b", "long"]])

    error = caught.value
    assert str(error) == message
    assert (error.document, error.chunk, error.tokens, error.limit) == (1, chunk, tokens, limit)
