"""Limits of bodies: of one, and of all that are under way."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ctxembed.server.request_body import MAX_BODIES, BodyReader

MOST = 10


def request(*parts):
    messages = [
        {"type": "http.request", "body": part, "more_body": n < len(parts)}
        for n, part in enumerate(parts, 1)
    ]

    async def receive():
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def taken(bodies, *parts):
    async with bodies.read(request(*parts)) as body:
        return bytes(body)


async def refusal(bodies, *parts):
    with pytest.raises(HTTPException) as caught:
        await taken(bodies, *parts)
    return caught.value


async def test_all_bodies_together_have_a_limit_and_count_until_they_are_done_with():
    bodies = BodyReader(MOST)
    async with AsyncExitStack() as rest, AsyncExitStack() as one:
        for stack in [one] + [rest] * (MAX_BODIES - 1):
            await stack.enter_async_context(bodies.read(request(b"a" * MOST)))
        refused = await refusal(bodies, b"a")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
        await one.aclose()
        assert await taken(bodies, b"ab", b"c") == b"abc"
    assert await taken(bodies, b"a" * MOST) == b"a" * MOST


async def test_bodies_that_are_refused_or_fail_count_no_longer():
    bodies = BodyReader(MOST)
    for _ in range(2 * MAX_BODIES):
        assert (await refusal(bodies, b"a" * MOST, b"a")).status_code == 413
        with pytest.raises(RuntimeError):
            async with bodies.read(request(b"a" * MOST)):
                raise RuntimeError
    assert await taken(bodies, b"a") == b"a"


async def test_the_time_of_a_body_is_not_that_of_its_answer(monkeypatch):
    """With no time at all, what waits inside the limit is cut off: the body, not the block."""
    monkeypatch.setattr("ctxembed.server.request_body.BODY_TIMEOUT", 0)
    bodies = BodyReader(MOST)
    async with bodies.read(request(b"a")) as body:
        for _ in range(10):
            await asyncio.sleep(0)
        assert body == b"a"

    async def never():
        await asyncio.Event().wait()

    late = Request({"type": "http", "method": "POST", "headers": []}, never)
    with pytest.raises(HTTPException) as caught:
        async with bodies.read(late):
            pass
    assert caught.value.status_code == 408
