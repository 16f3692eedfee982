"""What a client leaves behind: threads, connections, memory, and who is told of keys and texts."""

import asyncio
import gc
import gzip
import json
import socket
import threading
import traceback
import tracemalloc
import warnings
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from upstream import reply, truth

from ctxembed import (
    ApiError,
    ApiTimeoutError,
    ConfigurationError,
    Embedder,
    EmbedError,
    ResponseError,
)
from ctxembed.backends.api.payloads import most_bytes


def opened(**options):
    return Embedder.open(backend="api", **({"dimensions": 128} | options))


def ours():
    return [thread for thread in threading.enumerate() if thread.name == "ctxembed-api"]


def wait_for_end(threads):
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


DESCRIPTORS = Path("/proc/self/fd")


def descriptors():
    return len([*DESCRIPTORS.iterdir()])


def test_an_embedder_that_is_dropped_ends_its_thread_and_connections(api):
    """Without a close, and without a warning about anything left open."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(5):
            embedder = opened()
            embedder.embed_documents([["a"], ["b"]])
            threads = ours()
            assert threads
            gone = weakref.ref(embedder.backend)
            del embedder
            gc.collect()
            assert gone() is None
            wait_for_end(threads)
            api.wait_for_threads()
        gc.collect()
    assert not [str(w.message) for w in caught if issubclass(w.category, ResourceWarning)]


def test_a_dropped_embedder_whose_call_is_under_way_lives_until_it_is_answered(api):
    """Its thread ends after the answer, not before."""
    go = threading.Event()

    def wait(handler, body):
        assert go.wait(20)

    api.next = [wait]
    found = []
    thread = threading.Thread(
        target=lambda embedder: found.append(embedder.embed_query("q")), args=(opened(),)
    )
    thread.start()
    api.wait_for_requests(1)
    gc.collect()
    threads = ours()
    assert threads
    go.set()
    wait_for_end([thread])

    assert np.array_equal(truth(["q"], 0, 128), found[0])
    wait_for_end(threads)


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="only Linux lists descriptors")
def test_no_descriptor_stays_open(api, clock):
    """After answers, refusals, cut connections and timeouts, closed or dropped."""

    def hang(handler, body):
        clock.advance(0.2)
        return handler.wait_for_hang_up()

    faults = [
        None,
        lambda handler, _: handler.answer(400, "{}"),
        lambda handler, _: handler.cut(),
        hang,
    ]

    def once(fault, *, close):
        api.next = [] if fault is None else [fault]
        embedder = opened(timeout=0.2, max_retries=0)
        with suppress(EmbedError):
            embedder.embed_query("q")
        threads = ours()
        if close:
            embedder.close()
        del embedder
        gc.collect()
        wait_for_end(threads)
        api.wait_for_threads()  # the server in this process has closed its ends too

    once(None, close=True)
    before = descriptors()
    for number in range(20):
        once(faults[number % 4], close=number % 3 > 0)

    assert descriptors() <= before


def unframed(handler, content):
    """Answer without a length, so that the end of the connection ends the answer."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("connection", "close")
    handler.end_headers()
    handler.wfile.write(content)
    return handler.cut()


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_an_answer_without_a_length_that_was_cut_is_asked_for_again(api, share):
    """Nothing but the JSON itself tells."""

    def cut(handler, body):
        content = json.dumps(reply(handler.path, body)).encode()
        return unframed(handler, content[: int(share * len(content))])

    api.next = [cut, cut]
    with opened() as embedder:
        assert np.array_equal(truth(["q"], 0, 128), embedder.embed_query("q"))
    assert len(api.requests) == 3

    api.always = cut
    with opened(max_retries=1) as embedder, pytest.raises(ResponseError, match="cut"):
        embedder.embed_query("q")
    assert len(api.requests) == 5


def test_a_whole_answer_without_a_length_is_taken(api):
    """One request."""
    api.always = lambda handler, body: unframed(
        handler, json.dumps(reply(handler.path, body)).encode()
    )
    with opened() as embedder:
        assert np.array_equal(truth(["q"], 0, 128), embedder.embed_query("q"))
    assert len(api.requests) == 1


def endless(status, *, compress=False):
    """Answer with 64 MiB of blanks after a brace."""

    def fault(handler, body):
        content = b"{" + b" " * 2**26
        if compress:
            content = gzip.compress(content)
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(content)))
        if compress:
            handler.send_header("content-encoding", "gzip")
        handler.end_headers()
        try:
            handler.wfile.write(content)
        except OSError:
            handler.close_connection = True
        return True

    return fault


@pytest.mark.parametrize("status", [200, 400])
def test_an_endless_answer_is_not_read(api, status):
    """No more than vectors can have, or a reason needs; the status of a refusal stays."""
    api.always = endless(status)
    with (
        opened(timeout=10) as embedder,
        pytest.raises(ResponseError if status == 200 else ApiError, match=r"larger|400"),
    ):
        embedder.embed_query("q")
    assert len(api.requests) == 1


def test_an_answer_that_unpacks_to_more_is_not_read(api):
    """The size counts after unpacking."""
    api.always = endless(200, compress=True)
    with opened(timeout=10) as embedder, pytest.raises(ResponseError, match="larger than"):
        embedder.embed_query("q")


@pytest.mark.parametrize("form", ["int8", "binary"])
def test_the_largest_right_answer_is_far_below_the_cap(form):
    """With indents, long words and the widest rows that one may send."""
    body = {"model": "pplx-embed-context-v1-4b", "input": [["a"] * 40] * 4, "dimensions": 2560}
    answer = reply("/v1/contextualizedembeddings", body | {"encoding_format": f"base64_{form}"})
    assert 3 * len(json.dumps(answer, indent=8)) < most_bytes(160, form=form, dimensions=2560)


def test_memory_does_not_grow_with_calls(api):
    """A hundred calls more leave what a hundred left, within a few answers' size."""
    with opened(dimensions=1024) as embedder:

        def some():
            for _ in range(100):
                embedder.embed_documents([["a", "b", "c"]] * 4)
            gc.collect()
            api.requests.clear()
            api.headers.clear()

        some()
        tracemalloc.start()
        try:
            some()
            first = tracemalloc.get_traced_memory()[0]
            some()
            second = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert second - first < 100_000


def test_no_key_and_no_text_in_a_traceback(api):
    """With the whole chain of causes, as it is logged."""

    def refused(handler, body):
        return handler.answer(400, json.dumps({"error": {"message": json.dumps(body["input"])}}))

    text = "words confidential"[::-1]  # the traceback shows lines of this file
    for fault in (refused, lambda handler, _: handler.cut()):
        api.always = fault
        with opened(max_retries=0) as embedder, pytest.raises(EmbedError) as caught:
            embedder.embed_documents([[text]])
        told = "".join(traceback.format_exception(caught.value))
        assert text not in told
        assert "secret-key" not in told


def test_a_redirect_takes_the_key_nowhere(api):
    """It isn't followed: the error has its status."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/v1/contextualizedembeddings"
        api.always = lambda handler, _: handler.answer(307, "", headers={"location": url})
        with opened() as embedder, pytest.raises(ApiError) as caught:
            embedder.embed_query("q")
        with pytest.raises(BlockingIOError):  # nobody has connected
            elsewhere.accept()

    assert caught.value.status_code == 307


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/certificates.pem"),
        ("HTTPS_PROXY", "gopher://user:hunter2@127.0.0.1:9"),
        ("HTTP_PROXY", "http://user:hunter2@127.0.0.1:port"),
    ],
)
def test_an_unusable_environment_is_an_error_of_ours(api, monkeypatch, name, value):
    """That says what to look at, and doesn't repeat a proxy's password.

    A server of one's own is asked when it is opened, the vendor at the first call.
    """
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as at_once:
        opened()
    vendor = opened(base_url="https://api.perplexity.ai")
    with vendor as embedder, pytest.raises(ConfigurationError, match=name) as later:
        embedder.embed_query("q")

    for caught in (at_once, later):
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999, 1])
async def test_many_cancelled_calls_mix_no_answers(api, share):
    """Calls given up when a share of the answer has come; those after them get their own rows."""
    sent = threading.Event()

    def partly(handler, body):
        content = json.dumps(reply(handler.path, body)).encode()
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(content)))
        if share:
            handler.end_headers()
        handler.wfile.write(content[: int(share * len(content))])
        sent.set()
        return share == 1 or handler.wait_for_hang_up()

    async with opened(concurrency=4) as embedder:
        for number in range(12):
            sent.clear()
            api.next = [partly]
            task = asyncio.create_task(embedder.aembed_query(f"given up {number}"))
            assert await asyncio.to_thread(sent.wait, 30)
            task.cancel()
            row = await embedder.aembed_query(f"asked {number}")
            assert np.array_equal(truth([f"asked {number}"], 0, 128), row)
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("turns", range(5))
async def test_calls_that_are_cancelled_early_mix_no_answers(api, turns):
    """Given up after so many turns of the event loop, before or while the request is sent."""
    async with opened(concurrency=4) as embedder:
        for number in range(12):
            task = asyncio.create_task(embedder.aembed_query(f"given up {number}"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            row = await embedder.aembed_query(f"asked {number}")
            assert np.array_equal(truth([f"asked {number}"], 0, 128), row)
            await asyncio.gather(task, return_exceptions=True)


def test_a_call_that_timed_out_leaves_its_answer_to_nobody(api, clock):
    """The late answer of one request is never taken for that of the next."""
    given_up, answered_late = threading.Event(), threading.Event()

    def late(handler, body):
        clock.advance(0.2)
        assert given_up.wait(30)
        try:
            return handler.answer(200, json.dumps(reply(handler.path, body)))
        finally:
            answered_late.set()

    api.next = [late]
    with opened(timeout=0.2, max_retries=0, concurrency=1) as embedder:
        with pytest.raises(ApiTimeoutError):
            embedder.embed_query("first")
        given_up.set()
        assert answered_late.wait(30)
        for number in range(5):
            row = embedder.embed_query(f"next {number}")
            assert np.array_equal(truth([f"next {number}"], 0, 128), row)
