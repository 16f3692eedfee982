"""`Connection`: one connection of a client, bounded in time, and all of them in number.

On loopback no proxy stands in front of the server, so it ends by itself what would hold a
descriptor for ever: a head that never comes, a body that trickles in after its answer, a client
that does not read. `request_body` bounds the time of a body that is read.
"""

import asyncio
import sys
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource

MOST_CONNECTIONS = 512
HEAD_TIMEOUT = 10.0
"""Seconds without a request under way, whatever bytes come."""

READ_TIMEOUT = 30.0
"""Seconds that a client may leave a part of its answer unread."""


def most_connections() -> int:
    """Return how many connections there may be: half of the descriptors at the most."""
    if sys.platform == "win32":
        return MOST_CONNECTIONS
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft < 0 else min(MOST_CONNECTIONS, max(1, soft // 2))


class Connection(H11Protocol):
    """Uvicorn's protocol, with time limits, and with one connection ended where one is too many."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head: asyncio.TimerHandle | None = None
        self._read: asyncio.TimerHandle | None = None

    @property
    def waits(self) -> bool:
        """Whether no request is under way: the client has the next word."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection. If there are too many, the one that waits longest ends, or this."""
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > most_connections():
            others = [each for each in self.connections if isinstance(each, Connection)]
            waiting = [each for each in others if each.waits and each is not self]
            oldest = min(waiting, key=lambda each: each.until, default=self)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time limits too."""
        super().connection_lost(exc)
        _stop(self._head, self._read)

    @property
    def until(self) -> float:
        """When the connection ends if no request comes."""
        return 0.0 if self._head is None else self._head.when()

    def handle_events(self) -> None:
        """Handle what has come, and see whether a request is under way now."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Give the client a while to read."""
        super().pause_writing()
        self._read = self.loop.call_later(READ_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        _stop(self._read)

    def _watch(self) -> None:
        if not self.waits:
            _stop(self._head)
            self._head = None
        elif self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)


def _stop(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()
