"""Bodies of requests, read within limits: one body, and all bodies that are under way together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from ctxembed.server.error_responses import Refusal

T = TypeVar("T")

BODIES_UNDER_WAY = 16
"""Largest bodies that may be held at once."""

LONGEST_BODY = 60.0
"""Seconds that a body may take to arrive."""


class Bodies:
    """Reads bodies of `most` bytes at the most, and refuses one more where too many are held."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Give the body; its bytes count as held until the block ends."""
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > self._most:
            raise self._too_large()
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(LONGEST_BODY):
                    await self._fill(body, request)
            except TimeoutError:
                message = f"the body took more than {LONGEST_BODY:g} s to arrive."
                close = {"Connection": "close"}
                raise Refusal(HTTPStatus.REQUEST_TIMEOUT, message, close) from None
            yield body
        finally:
            self._held -= len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        async for part in request.stream():
            body += part
            self._held += len(part)
            if len(body) > self._most:
                raise self._too_large()
            if self._held > BODIES_UNDER_WAY * self._most:
                message = "too many requests at once. Try again in a while."
                raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, message, {"Retry-After": "1"})

    def _too_large(self) -> Refusal:
        message = f"the body has more than {self._most:,} bytes."
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, {"Connection": "close"})


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; when the client goes away first, cancel it and raise."""
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
