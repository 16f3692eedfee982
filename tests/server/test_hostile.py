"""Hostile clients, and those with a bad network: others are served, and nothing is kept."""

import gc
import json
import re
import socket
from pathlib import Path

import httpx
import pytest

CONTEXTUAL = "pplx-embed-context-v1-0.6b"
HEAD = (
    b"POST /v1/contextualizedembeddings HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
JSON = {"Content-Type": "application/json"}


def connected(server):
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20)


def test_a_body_that_never_ends_is_408_and_the_others_go_on(serve, monkeypatch):
    monkeypatch.setattr("ctxembed.server.request_body.BODY_TIMEOUT", 0.3)
    server = serve()
    with connected(server) as client:
        client.sendall(HEAD % 1000 + b'{"model": ')
        assert server.documents([["in the meantime"]]).status_code == 200
        answer = client.recv(65_536)
        assert answer.split()[1] == b"408"
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "request_timeout"
        assert client.recv(1) == b""


GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a plain port
    b"GET /\r\n\r\n",
    b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    (
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        b"Content-Length: 6\r\n\r\nabcdef"
    ),
    b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_http_harms_nobody(serve, garbage):
    server = serve()
    with connected(server) as client:
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65_536)
    assert answer == b"" or 400 <= int(answer.split()[1]) < 500
    assert server.documents([["still here"]]).status_code == 200


def asking(given, more=""):
    return f'{{"model": "{CONTEXTUAL}", "input": {given}{more}}}'


BODIES = [
    asking(r'[["\ud800"]]'),
    asking(r'[["a\u0000b"]]'),
    asking('[["<|endoftext|>"]]'),
    asking('[["a"]]', ', "dimensions": 1e3'),
    asking('[["a"]]', f', "dimensions": {10**400}'),
    asking('[["a"]]', ', "dimensions": true'),
    asking('[["a"]]', ', "input": "b"'),
    asking("[" * 50_000),
    asking(f"[{['a'] * 16_001}]".replace("'", '"')),
    r'{"model": "\u0000", "input": [["a"]]}',
    "\ufeff{}",
    "NaN",
]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (asking('[["a"]]', ', "input": [["b"]]'), ["body", "input"]),
        (asking('[["a"]]', ', "\\u0069nput": [["b"]]'), ["body", "input"]),
        (asking('[["a"]]', ', "secret": 1, "secret": 2'), ["body"]),
        (asking('[["a"]]', ', "more": [{"x": 1, "x": 1}]'), ["body"]),
    ],
)
def test_a_key_that_stands_twice_is_422(serve, body, place):
    url = f"{serve().url}/v1/contextualizedembeddings"
    answer = httpx.post(url, content=body, headers=JSON)

    assert answer.status_code == 422
    told = {"loc": place, "msg": "A key stands twice in one object", "type": "duplicate_key"}
    assert answer.json() == {"detail": [told]}


@pytest.mark.parametrize("body", BODIES)
def test_odd_bodies_are_answered_and_never_500(serve, body):
    server = serve()
    url = f"{server.url}/v1/contextualizedembeddings"
    answer = httpx.post(
        url, content=body.encode("utf-8", "surrogatepass"), headers=JSON, timeout=30
    )

    assert answer.status_code in (200, 400, 422)
    told = answer.json()
    assert ("data" in told) + ("error" in told) + ("detail" in told) == 1
    assert server.documents([["still here"]]).status_code == 200


def test_pipelined_requests_are_answered_in_order(serve):
    """Two at once on one connection: each answer is that of its own request."""
    server = serve()
    asked = [[["one"]], [["two", "three"]]]
    bodies = [json.dumps({"model": CONTEXTUAL, "input": d}).encode() for d in asked]
    with connected(server) as client:
        client.sendall(b"".join(HEAD % len(body) + body for body in bodies))
        client.settimeout(20)
        got = b""
        while got.count(b'"usage"') < 2:
            got += client.recv(65_536)
    found = [
        json.loads(part) for part in re.findall(rb'\{"object":"list","data".*?"USD"\}\}\}', got)
    ]
    expected = [server.documents(documents).json() for documents in asked]
    assert found == expected


DESCRIPTORS = Path("/proc/self/fd")


def descriptors():
    return len([*DESCRIPTORS.iterdir()])


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="only Linux lists descriptors")
def test_clients_that_come_and_go_leave_nothing_open(serve):
    """Before the head, in the middle of a body, and before the answer."""
    server = serve()
    body = json.dumps({"model": CONTEXTUAL, "input": [["a"]]}).encode()
    parts = [
        b"",
        b"POST /v1",
        HEAD % len(body),
        HEAD % len(body) + body[:9],
        HEAD % len(body) + body,
    ]

    def rounds(count):
        for number in range(count):
            with connected(server) as client:
                client.sendall(parts[number % len(parts)])

    rounds(5)
    server.listener.wait_for_ended_connections(5 + 1)  # one asked whether the server is ready
    before = descriptors()
    rounds(100)
    server.listener.wait_for_ended_connections(100)
    gc.collect()
    assert not server.listener.server_state.connections
    assert descriptors() <= before
    assert server.documents([["still here"]]).status_code == 200
    metrics = httpx.get(f"{server.url}/metrics").text
    assert "ctxembed_queue_tokens 0.0" in metrics
