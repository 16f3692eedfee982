"""`listen`: an application on a socket until a signal ends it; what is under way is finished first."""

from __future__ import annotations

import logging
import signal
import socket
from types import FrameType

import uvicorn
from starlette.applications import Starlette

GRACE = 60
"""Seconds that requests under way get after SIGTERM or Ctrl-C."""

_MOST_HEAD_BYTES = 2**16
"""Size of a request's line and headers; without a limit, anyone could fill the memory without a key."""


class Listener(uvicorn.Server):
    """A uvicorn server that tells its application's lifecycle when it begins to drain."""

    def __init__(self, app: Starlette, *, grace: int = GRACE) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=grace,
                # the other implementation, which is taken where it is installed, has no such limit
                http="h11",
                h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
            )
        )
        self._lifecycle = app.state.lifecycle
        self._interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop accepting; `/ready` says so on open connections. A second Ctrl-C cuts them off."""
        self._lifecycle.drain()
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)
            return
        # uvicorn would raise the signal anew inside of the event loop, where it may be lost
        if self._interrupted:
            self.force_exit = True
            # it would show a traceback for whatever is cut off
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._interrupted = self.should_exit = True

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal; raises `KeyboardInterrupt` at the end where that was Ctrl-C."""
        super().run(sockets)
        if self._interrupted:
            raise KeyboardInterrupt


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise `OSError`; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=2048)
    # asyncio does this for sockets of its own only; without it an answer's body waits for the
    # acknowledgement of its head: 40 ms
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
