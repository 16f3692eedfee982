"""`ConcurrencyLimiter`: how many requests may be in flight at once, learned from how they fare.

Additive increase and multiplicative decrease, with a slow start, as in TCP. The limit starts at 4.
Until the first refusal (429) it doubles with every round of successes, and whenever requests wait
and nothing is refused for 20 ms: refusals come at once, answers take their time. A refusal halves
the limit, and all requests pause together for as long as the server asks. From then on the limit
rises by one per round. No answer in time counts as a refusal.

Lives in one event loop and needs no locks. When to repeat a request is in `retries`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

START = 4
PATIENCE = 0.02
"""Seconds without a refusal after which a limit that holds requests up is doubled."""


class ConcurrencyLimiter:
    """Gives slots to requests, `limit` at once and never more than `maximum`."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.limit: float = min(START, maximum)
        self.in_flight = 0
        self._slow_start = True
        self._paused_until = 0.0
        self._lowered_at = -inf
        self._doubling: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait for a slot and the end of a pause; yield the time (monotonic) at which it began."""
        while self.in_flight >= int(self.limit):
            if self._doubling is None and self._slow_start:
                self._doubling = asyncio.get_running_loop().call_later(PATIENCE, self._double)
            await self._changed.wait()
        self.in_flight += 1
        try:
            while (wait := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 - may grow
                await asyncio.sleep(wait)
            yield time.monotonic()
        finally:
            self.in_flight -= 1
            self._wake()

    def succeeded(self) -> None:
        """Raise the limit a little."""
        step = 1 if self._slow_start else 1 / self.limit
        self.limit = min(self.maximum, self.limit + step)

    def refused(self, began: float, pause: float) -> None:
        """Halve the limit, and let no request begin for `pause` seconds.

        `began` is the time at which the refused request began. Requests that were in flight
        together halve the limit once.
        """
        now = time.monotonic()
        self._slow_start = False
        self._paused_until = max(self._paused_until, now + pause)
        if began > self._lowered_at:
            self._lowered_at = now
            self.limit = max(1.0, self.limit / 2)

    def _double(self) -> None:
        self._doubling = None
        if self._slow_start:
            self.limit = min(self.maximum, self.limit * 2)
            self._wake()

    def _wake(self) -> None:
        """Have all waiting requests look again."""
        self._changed.set()
        self._changed.clear()
