"""A clock for the API client that only a test moves, so that no test waits and none measures time.

The client talks in an event loop of its own, in a thread. Under the fixture `clock` that loop reads
the time from `Clock.now`, and so does `time.monotonic` in it: time limits, pauses and sleeps of the
client run out when the test says so. Other loops and threads keep the real time.
"""

import asyncio
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress

import pytest

TURNS = 10
"""Turns of an event loop after which everything has run that was due."""


class Clock:
    """The time in seconds, and the `waits`: what was passed to `asyncio.sleep`, in order.

    A sleep ends at once, and moves the clock by its length. With `held`, it ends when the test
    moves the clock far enough.
    """

    def __init__(self):
        self.now = 1000.0
        self.waits = []
        self.held = False
        self._changed = threading.Condition()
        self._loops = []

    def advance(self, seconds):
        """Move the clock; return when the client has done what was due."""
        with self._changed:
            self.now += seconds
        for loop in self._loops:
            loop.wait_until_settled()

    def wait_for_waits(self, count):
        """Return when the client has begun to sleep for the given number of times."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.waits) >= count, 30)

    def new_loop(self):
        """Return an event loop that reads this clock."""
        loop = ClockLoop(self)
        self._loops.append(loop)
        return loop

    def run(self, coroutine):
        """Run a coroutine in such a loop, as `asyncio.run` does."""
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(coroutine)

    def begin_sleep(self, seconds):
        """Write down a sleep; return how long it lasts on the clock from now on."""
        with self._changed:
            self.waits.append(seconds)
            self._changed.notify_all()
            if self.held:
                return seconds
            self.now += seconds
            return 0


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of a `Clock`."""

    def __init__(self, clock):
        self.clock = clock
        self.ended = Future()
        super().__init__()

    def time(self):
        return self.clock.now

    def close(self):
        super().close()
        if not self.ended.done():
            self.ended.set_result(None)

    def wait_until_settled(self):
        """Return when everything that was due has run, or the loop has ended meanwhile."""
        settled = Future()

        def turn(left):
            if left:
                self.call_soon(turn, left - 1)
            else:
                settled.set_result(None)

        with suppress(RuntimeError):  # the loop is closed
            self.call_soon_threadsafe(turn, TURNS)
        assert wait([settled, self.ended], 30, FIRST_COMPLETED).done


async def settle():
    """Let everything run that can run without new input."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch):
    """Return the clock of every API client that the test opens."""
    made = Clock()
    sleep, monotonic = asyncio.sleep, time.monotonic

    async def clock_sleep(seconds, result=None):
        if seconds > 0 and isinstance(asyncio.get_running_loop(), ClockLoop):
            seconds = made.begin_sleep(seconds)
        return await sleep(seconds, result)

    def clock_monotonic():
        loop = asyncio._get_running_loop()  # the public function raises where no loop runs
        return loop.time() if isinstance(loop, ClockLoop) else monotonic()

    monkeypatch.setattr(asyncio, "new_event_loop", made.new_loop)
    monkeypatch.setattr(asyncio, "sleep", clock_sleep)
    monkeypatch.setattr(time, "monotonic", clock_monotonic)
    return made
