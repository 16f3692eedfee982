"""Cross-cutting: the promise of conftest.py, that no test leaves this machine."""

import socket

import pytest


@pytest.mark.parametrize("host", ["example.com", "192.0.2.1", "2001:db8::1"])
def test_connecting_beyond_this_machine_is_refused(host: str) -> None:
    with pytest.raises(RuntimeError, match="only loopback is open"):
        socket.create_connection((host, 80), timeout=1)


def test_loopback_is_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()
