"""The socket that the server listens on."""

import socket

import httpx

from ctxembed.server.listener import bind


def test_answers_do_not_wait_for_acknowledgements():
    with (
        bind("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_flood_of_headers_is_cut_off(serve):
    server = serve()
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        answer = b""
        try:
            client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2**20)
            answer = client.recv(1000)
        except ConnectionError:
            pass  # closed while it was still being sent to
    assert answer[:13] in (b"", b"HTTP/1.1 400 ")
    assert server.texts("a").status_code == 200


def test_long_headers_are_taken(serve):
    headers = {"A": "a" * 30_000}
    assert httpx.get(f"{serve().url}/health", headers=headers).status_code == 200


def test_a_host_with_colons_is_an_ipv6_address():
    with bind("::1", 0) as listening:
        assert listening.family == socket.AF_INET6
