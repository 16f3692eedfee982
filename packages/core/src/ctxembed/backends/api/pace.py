"""`Pace`: how many requests may be under way at once, learned from how they fare.

Starts at 4. Until the first refusal (429) it doubles with every round of successes, and rises by 4
whenever nothing is refused for 20 ms: refusals come at once, answers take their time. A refusal halves
it, and all wait together for as long as the server asks; from then on it rises by one a round. Lives in
one event loop; no locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

START = 4
PATIENCE = 0.02
"""Seconds without a refusal after which more may be under way."""


class Pace:
    """Lets requests through, `allowed` at once and never more than `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed: float = min(START, most)
        self.under_way = 0
        self._quiet_until = 0.0
        self._slowed_at = float("-inf")
        self._grew_at = float("inf")
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn, and hold it; yields when it began."""
        async with self._changed:
            while self.under_way >= int(self.allowed):
                try:
                    await asyncio.wait_for(self._changed.wait(), PATIENCE)
                except TimeoutError:
                    self._grow_untouched()
            self.under_way += 1
            self._grew_at = min(self._grew_at, _now())
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
        step = 1 / self.allowed if self._was_refused else 1
        self.allowed = min(self.most, self.allowed + step)

    @property
    def _was_refused(self) -> bool:
        return self._slowed_at > float("-inf")

    def _grow_untouched(self) -> None:
        if not self._was_refused and _now() - self._grew_at >= PATIENCE:
            self._grew_at = _now()
            self.allowed = min(self.most, self.allowed + START)
            self._changed.notify_all()

    def refused(self, began: float, wait: float) -> None:
        """Halve what is allowed, once for all requests of one jam, and keep quiet for `wait` seconds."""
        now = _now()
        self._quiet_until = max(self._quiet_until, now + wait)
        if began > self._slowed_at:
            self._slowed_at = now
            self.allowed = max(1.0, self.allowed / 2)


def _now() -> float:
    return asyncio.get_running_loop().time()
