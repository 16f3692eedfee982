"""What holds for every test: no network but loopback, no hub, no telemetry."""

import gc
import os
import socket
import sys
from collections.abc import Iterator

# Libraries read these when they are imported, so they are set before any of them can be.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

import pytest
from hypothesis import settings

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class NetworkBlockedError(RuntimeError):
    """A test reached for the network; no OSError, so that no client takes it for a bad line."""


def refuse_network(event: str, args: tuple[object, ...]) -> None:
    """Audit hook: whatever the library, refuse names and addresses beyond this machine."""
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        sock, address = args[0], args[1]
        inet = isinstance(sock, socket.socket) and sock.family in {
            socket.AF_INET,
            socket.AF_INET6,
        }
        host = address[0] if inet and isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name and name not in LOOPBACK:
        msg = f"a test reached for {name}; only loopback is open"
        raise NetworkBlockedError(msg)


sys.addaudithook(refuse_network)

pytest_plugins = [
    "checkpoints",
    "clock",
    "command_line",
    "telemetry",
    "thread_failures",
    "upstream",
]  # from tests/plugins, on the path

settings.register_profile("ctxembed", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("ctxembed")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Let the garbage collector pass over what importing the libraries made.

    That is more than a million objects which stay to the end. Otherwise each `gc.collect()` of a
    test walks them again; what a test makes is collected and counted as before.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture
def anyio_backend() -> str:
    """Coroutines run on asyncio, the loop that the frameworks use."""
    return "asyncio"
