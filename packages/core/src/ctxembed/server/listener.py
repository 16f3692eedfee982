"""`Listener` serves an application on a socket until a signal ends it.

Requests under way are finished first.
"""

import logging
import signal
import socket
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from ctxembed.server.connections import Connection

GRACE = 60
"""Seconds that requests under way get after SIGTERM or Ctrl-C."""

_MAX_HEAD_BYTES = 2**16
"""Size of a request line and its headers, read before the key is: memory that anyone can take."""


class Listener(uvicorn.Server):
    """A uvicorn server that tells the lifecycle of its application when it begins to drain."""

    def __init__(self, app: Starlette, *, grace: int = GRACE) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=grace,
                # httptools, which uvicorn prefers where it is installed, has no limit of a head
                http=Connection,
                ws="none",
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
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
        # uvicorn would raise the signal again inside the event loop, where it may be lost
        if self._interrupted:
            self.force_exit = True
            # uvicorn would show a traceback for each request that is cut off
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._interrupted = self.should_exit = True

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal. If that was Ctrl-C, raise `KeyboardInterrupt` at the end."""
        super().run(sockets)
        if self._interrupted:
            raise KeyboardInterrupt


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, or raise `OSError`. Port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=2048)
    # asyncio sets this for its own sockets only. Without it, the body of a response waits 40 ms for
    # the acknowledgement of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
