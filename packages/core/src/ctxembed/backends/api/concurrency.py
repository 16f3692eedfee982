"""`Pace`: how many requests may be under way at once, learned from how they fare.

Starts at 4. Until the first refusal (429) it doubles with every round of successes, and whenever some
wait and nothing is refused for 20 ms: refusals come at once, answers take their time. A refusal halves
it, and all wait together for as long as the server asks; from then on it rises by one a round. No answer
in time counts as a refusal. Lives in one event loop; no locks.
"""

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
        self._growing: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a turn, and hold it; yields when it began."""
        while self.under_way >= int(self.allowed):
            if self._growing is None and not self._was_refused:
                loop = asyncio.get_running_loop()
                self._growing = loop.call_later(PATIENCE, self._grow_untouched)
            await self._changed.wait()
        self.under_way += 1
        try:
            while (wait := self._quiet_until - _now()) > 0:  # noqa: ASYNC110 - it may have grown
                await asyncio.sleep(wait)
            yield _now()
        finally:
            self.under_way -= 1
            self._wake()

    def succeeded(self) -> None:
        """Allow a little more."""
        step = 1 / self.allowed if self._was_refused else 1
        self.allowed = min(self.most, self.allowed + step)

    def refused(self, began: float, wait: float) -> None:
        """Halve what is allowed, once for all requests of one jam, and keep quiet for `wait` seconds."""
        now = _now()
        self._quiet_until = max(self._quiet_until, now + wait)
        if began > self._slowed_at:
            self._slowed_at = now
            self.allowed = max(1.0, self.allowed / 2)

    @property
    def _was_refused(self) -> bool:
        return self._slowed_at > float("-inf")

    def _grow_untouched(self) -> None:
        self._growing = None
        if not self._was_refused:
            self.allowed = min(self.most, self.allowed * 2)
            self._wake()

    def _wake(self) -> None:
        """Have all that wait look again."""
        self._changed.set()
        self._changed.clear()


def _now() -> float:
    return asyncio.get_running_loop().time()
