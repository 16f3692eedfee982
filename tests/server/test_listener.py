"""The socket that the server listens on."""

import socket

from ctxembed.server.listener import bind


def test_answers_do_not_wait_for_acknowledgements():
    with (
        bind("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_host_with_colons_is_an_ipv6_address():
    with bind("::1", 0) as listening:
        assert listening.family == socket.AF_INET6
