"""`Pace`: how many requests may be under way at once, learned from how they fare.

Starts at 4, rises by one for every round of successes, halves on a refusal (429), when all wait
together for as long as the server asks. Lives in one event loop; no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

START = 4


class Pace:
    """Lets requests through, `allowed` at once and never more than `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed: float = min(START, most)
        self.under_way = 0
        self._quiet_until = 0.0
        self._slowed_at = float("-inf")
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn, and hold it; yields when it began."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.under_way < int(self.allowed))
            self.under_way += 1
        try:
            while (wait := self._quiet_until - _now()) > 0:  # noqa: ASYNC110 - it may have grown
                await asyncio.sleep(wait)
            yield _now()
        finally:
            self.under_way -= 1
            async with self._changed:
                self._changed.notify_all()

    def succeeded(self) -> None:
        """Allow a little more."""
        self.allowed = min(self.most, self.allowed + 1 / self.allowed)

    def refused(self, began: float, wait: float) -> None:
        """Halve what is allowed, once for all requests of one jam, and keep quiet for `wait` seconds."""
        now = _now()
        self._quiet_until = max(self._quiet_until, now + wait)
        if began > self._slowed_at:
            self._slowed_at = now
            self.allowed = max(1.0, self.allowed / 2)


def _now() -> float:
    return asyncio.get_running_loop().time()
