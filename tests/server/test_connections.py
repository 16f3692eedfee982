"""Connections that hold a descriptor and ask for nothing: bounded in time and in number."""

import json
import socket
import time
from contextlib import suppress

import httpx
import pytest

from ctxembed.server import connections
from ctxembed.testing import FakeBackend

CONTEXTUAL = "pplx-embed-context-v1-0.6b"


def connected(server):
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=20)


def ended(client):
    """Wait until the server has ended a connection, and return what it said before."""
    told = b""
    with suppress(ConnectionError):
        while part := client.recv(65_536):
            told += part
    return told


NEVER_WHOLE = [
    b"",
    b"POST /v1",
    b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n",
    # refused at once, and the body trickles in
    b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
]


@pytest.mark.parametrize("start", NEVER_WHOLE)
def test_what_never_becomes_a_request_is_ended(serve, monkeypatch, start):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.3)
    server = serve()
    with connected(server) as client:
        client.sendall(start)
        told = ended(client)
    assert told == b"" or told.split()[1] == b"415"
    assert server.documents([["still here"]]).status_code == 200


def trickle(client):
    """Send a byte now and then, until the connection has ended."""
    while True:
        client.sendall(b"a")
        time.sleep(0.01)


def test_bytes_that_trickle_in_gain_no_time(serve, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.3)
    server = serve()
    with connected(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        with pytest.raises(ConnectionError):
            trickle(client)


def test_a_long_request_is_not_ended(serve, monkeypatch, hold):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT", 0.05)
    server = serve(FakeBackend(fault=hold))
    body = json.dumps({"model": CONTEXTUAL, "input": [["a"]]}).encode()
    head = b"POST /v1/contextualizedembeddings HTTP/1.1\r\nHost: localhost\r\n"
    kind = b"Content-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with connected(server) as client:
        client.sendall(head + kind % len(body) + body)
        assert hold.entered.wait(20)
        with connected(server) as other:  # ends, by the same time limit, which began later
            assert ended(other) == b""
        hold.opened.set()
        assert ended(client).split()[1] == b"200"


def test_a_client_that_does_not_read_is_ended(serve, monkeypatch):
    monkeypatch.setattr(connections, "READ_TIMEOUT", 0.3)
    server = serve()
    asked = {"model": CONTEXTUAL, "input": [["a"] * 3000], "encoding_format": "float"}
    body = json.dumps(asked).encode()
    head = b"POST /v1/contextualizedembeddings HTTP/1.1\r\nHost: localhost\r\n"
    kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with connected(server) as client:
        client.sendall(head + kind % len(body) + body)
        server.listener.wait_for_ended_connections(2)  # one asked whether the server is ready
        assert len(ended(client)) < 15_000_000
    assert "ctxembed_queue_tokens 0.0" in httpx.get(f"{server.url}/metrics").text


@pytest.mark.parametrize("start", NEVER_WHOLE[:3])
def test_the_oldest_that_waits_makes_room(serve, monkeypatch, start):
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 5)
    server = serve()
    clients = [connected(server) for _ in range(30)]
    try:
        for client in clients[:25]:
            assert ended(client) == b""
        for client in clients:
            with suppress(ConnectionError):
                client.sendall(start)
        assert server.documents([["served"]]).status_code == 200
        assert len(server.listener.server_state.connections) <= 5
    finally:
        for client in clients:
            client.close()


def test_half_of_the_descriptors_are_for_connections(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (80, 1000))
    assert connections.most_connections() == 40
    monkeypatch.setattr(resource, "getrlimit", lambda _: (-1, -1))
    assert connections.most_connections() == 512
