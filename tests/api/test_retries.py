"""When what failed is repeated, by a clock that only the test moves."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from ctxembed import ApiError, ApiTimeoutError
from ctxembed.backends.api import retries
from ctxembed.backends.api.client import Client
from ctxembed.backends.api.endpoint import Endpoint
from ctxembed.backends.api.retries import TransientFailure, retry


class Clock:
    """Stands for `time`, `asyncio.sleep`, `random` and the limiter.

    Writes down every wait; none may happen in a slot.
    """

    def __init__(self, *, queue=0.0, jitter=1.0):
        self.now = 0.0
        self.queue = queue
        self.jitter = jitter
        self.waits = []
        self.holds_slot = False

    def monotonic(self):
        return self.now

    def uniform(self, low, high):
        assert (low, high) == (1, 1.25)
        return self.jitter

    async def sleep(self, seconds):
        assert not self.holds_slot
        self.waits.append(seconds)
        self.now += seconds

    @asynccontextmanager
    async def slot(self):
        self.now += self.queue
        self.holds_slot = True
        try:
            yield self.now
        finally:
            self.holds_slot = False


@pytest.fixture
def clock(monkeypatch):
    """Return a clock; the module's waits move it and take no time."""
    clock = Clock()
    monkeypatch.setattr(retries, "time", clock)
    monkeypatch.setattr(retries, "random", clock)
    monkeypatch.setattr(retries, "asyncio", SimpleNamespace(sleep=clock.sleep))
    return clock


def failing(clock, *, times, takes=0.0, retry_after=None):
    """Return an attempt that fails so many times, after so many seconds each, and then succeeds."""
    left = iter(range(times))

    async def attempt(began):
        assert clock.holds_slot
        assert began == clock.now
        clock.now += takes
        for number in left:
            raise TransientFailure(ApiError(f"failure {number}"), retry_after)
        return "answer"

    return attempt


async def test_waits_double_up_to_the_longest(clock):
    answer = await retry(failing(clock, times=9), clock, max_retries=9, seconds=1e9)

    assert answer == "answer"
    assert clock.waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("asked", "waits"), [(None, [0.625, 1.25]), (4, [5, 5])])
async def test_every_wait_is_up_to_a_quarter_longer(clock, asked, waits):
    """Also one that the server asked for: clients that were refused together come back apart."""
    clock.jitter = 1.25
    attempt = failing(clock, times=2, retry_after=asked)
    await retry(attempt, clock, max_retries=2, seconds=1e9)

    assert clock.waits == waits


async def test_last_error_comes_out_after_the_last_retry(clock):
    with pytest.raises(ApiError, match="failure 2"):
        await retry(failing(clock, times=9), clock, max_retries=2, seconds=1e9)

    assert len(clock.waits) == 2


async def test_waiting_for_a_slot_is_not_counted(clock):
    clock.queue = 1000
    attempt = failing(clock, times=3, takes=1, retry_after=1)
    assert await retry(attempt, clock, max_retries=9, seconds=6) == "answer"


@pytest.mark.parametrize(("seconds", "waits"), [(5.9, 2), (6, 3)])
async def test_attempts_and_waits_are_counted_with_the_wait_to_come(clock, seconds, waits):
    """Three attempts, three waits of a second: the last is not begun where it ends too late."""
    attempt = failing(clock, times=9, takes=1, retry_after=1)
    with pytest.raises(ApiError, match=f"failure {waits}"):
        await retry(attempt, clock, max_retries=9, seconds=seconds)

    assert len(clock.waits) == waits


async def test_cause_is_kept(clock):
    cause = OSError("cut")

    async def attempt(began):
        raise TransientFailure(ApiError("no connection")) from cause

    with pytest.raises(ApiError, match="no connection") as caught:
        await retry(attempt, clock, max_retries=1, seconds=1e9)

    assert caught.value.__cause__ is cause


async def test_thousands_of_retries(clock):
    """Where the server asks for no wait at all, nothing grows beyond what a float can hold."""
    attempt = failing(clock, times=3000, retry_after=0)
    assert await retry(attempt, clock, max_retries=3000, seconds=1) == "answer"


@pytest.mark.parametrize(("divisible", "requests"), [(True, 1), (False, 3)])
def test_timeout_of_what_can_be_divided_comes_at_once(api, divisible, requests):
    """Less at a time has a better chance than the same again."""
    import os

    endpoint = Endpoint(
        base_url=os.environ["PERPLEXITY_BASE_URL"],
        api_key="k",
        timeout=0.2,
        max_retries=2,
        concurrency=1,
    )

    async def post():
        client = Client(endpoint)
        try:
            await client.post("/v1/embeddings", b"{}", 1000, divisible=divisible)
        finally:
            await client.close()

    def hang(handler, body):
        api.closing.wait(0.5)
        return handler.cut()

    api.always = hang
    with pytest.raises(ApiTimeoutError) as caught:
        asyncio.run(post())

    assert isinstance(caught.value.__cause__, TimeoutError)
    assert len(api.requests) == requests
