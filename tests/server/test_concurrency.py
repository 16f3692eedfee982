"""Many clients at once: each gets its own rows, and what nobody waits for is dropped."""

import base64
import json
import logging
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from ctxembed import Embedder
from ctxembed.batches import Limits
from ctxembed.testing import FakeBackend

CONTEXTUAL = "pplx-embed-context-v1-0.6b"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def held(serve, hold, queue_events):
    """A server whose model will be busy with its first batch; threads that wait for answers."""
    server = serve(FakeBackend(limits=Limits(batch_tokens=20), fault=hold))
    with ThreadPoolExecutor(40) as pool:
        yield server, hold, pool
        hold.opened.set()


def codes(response):
    return [
        [np.frombuffer(base64.b64decode(c["embedding"]), np.int8) for c in document["data"]]
        for document in response.json()["data"]
    ]


def test_64_clients_get_their_own_rows(serve):
    backend = FakeBackend(limits=Limits(batch_tokens=50))
    server = serve(backend)
    asked = [
        [
            [f"client {n} document {d} chunk {c}" for c in range(1 + n % 5)]
            for d in range(1 + n % 3)
        ]
        for n in range(64)
    ]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(server.documents, asked))
    direct = Embedder(FakeBackend())
    for documents, answer in zip(asked, answers, strict=True):
        assert answer.status_code == 200, answer.text
        for rows, expected in zip(codes(answer), direct.embed_documents(documents), strict=True):
            np.testing.assert_array_equal(np.stack(rows), expected)


def test_requests_that_arrive_together_share_batches(held, queue_events):
    server, hold, pool = held
    first = pool.submit(server.documents, [["first"]])
    assert hold.entered.wait(20)
    others = [pool.submit(server.documents, [[f"number {n}"]]) for n in range(10)]
    queue_events.wait_entered(1 + 10)
    assert queued(server) == 1 + 20
    hold.opened.set()
    for answer in [first, *others]:
        assert answer.result(20).status_code == 200
    assert [len(batch.windows) for batch in server.backend.batches] == [1, 10]


def queued(server):
    text = httpx.get(f"{server.url}/metrics").text
    (line,) = (each for each in text.splitlines() if each.startswith("ctxembed_queue_tokens "))
    return int(float(line.split()[1]))


def test_a_client_that_hangs_up_leaves_the_queue(held, queue_events):
    server, hold, pool = held
    first = pool.submit(server.documents, [["first"]])
    assert hold.entered.wait(20)
    body = json.dumps({"model": CONTEXTUAL, "input": [["given up"]]}).encode()
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = (
            "POST /v1/contextualizedembeddings HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        )
        client.sendall(head.encode() + b"\r\n\r\n" + body)
        queue_events.wait_entered(2)
        assert queued(server) == 3
    queue_events.wait_left(1)
    assert queued(server) == 1
    hold.opened.set()
    assert first.result(20).status_code == 200
    assert server.documents([["last"]]).status_code == 200
    assert [w.chunks[0].text for w in server.backend.windows] == ["first", "last"]
    assert 'status="499"} 1.0' in httpx.get(f"{server.url}/metrics").text


def test_a_long_request_does_not_starve_a_short_one(held, queue_events):
    server, hold, pool = held
    first = pool.submit(server.documents, [["first"]])
    assert hold.entered.wait(20)
    long = pool.submit(server.documents, [[f"long document {n}"] for n in range(300)])
    queue_events.wait_entered(2)
    short = pool.submit(server.documents, [["short"]])
    queue_events.wait_entered(1)
    assert queued(server) == 902
    hold.opened.set()
    for answer in (short, first, long):
        assert answer.result(20).status_code == 200
    texts = [window.chunks[0].text for window in server.backend.windows]
    assert texts.index("short") < 10
    assert len(texts) == 302


def test_a_full_queue_is_429_at_once_with_a_time_to_come_back(serve, hold):
    server = serve(FakeBackend(fault=hold), max_queue_tokens=5)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.documents, [["a b c"]])
        assert hold.entered.wait(20)
        response = server.documents([["d e f"]])
        assert response.status_code == 429
        assert response.json()["error"]["type"] == "rate_limit_exceeded"
        assert 1 <= int(response.headers["retry-after"]) <= 60
        hold.opened.set()
        assert first.result(20).status_code == 200
    assert server.documents([["d e f"]]).status_code == 200


def test_what_a_shutdown_cuts_off_is_answered(held, queue_events, caplog):
    server, _, pool = held
    server.listener.config.timeout_graceful_shutdown = 0.2
    asked = [pool.submit(server.documents, [[f"secret {n}"]]) for n in range(3)]
    queue_events.wait_entered(3)
    assert queued(server) == 6
    server.listener.handle_exit(signal.SIGTERM, None)
    for answer in asked:
        response = answer.result(20)
        assert response.status_code == 503
        assert response.json()["error"]["type"] == "unavailable"
        assert response.headers["x-request-id"]
    assert not [record for record in caplog.records if record.exc_info]


def test_logs_have_no_text_even_where_the_model_fails(serve, caplog):
    def fault(batch):
        raise RuntimeError(f"could not read {batch.windows[0].chunks[0].text}")

    server = serve(FakeBackend(fault=fault))
    with caplog.at_level(logging.DEBUG):
        server.documents([["a secret text"]])
        server.documents([["a secret text", ""]])
        server.documents(["a secret text"])
        httpx.post(
            f"{server.url}/v1/embeddings?q=secret", content=b'{"input": "secret', headers=JSON
        )
    ours = [r for r in caplog.records if r.name.startswith(("ctxembed", "uvicorn", "asyncio"))]
    lines = "\n".join(logging.Formatter().format(record) for record in ours)
    assert "500" in lines
    assert "secret" not in lines
    assert "RuntimeError" in lines
