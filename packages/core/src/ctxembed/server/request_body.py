"""The bodies of requests, read within limits: of one body, and of all bodies held together."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")

MAX_BODIES = 16
"""Bodies of the largest size that the server holds at once."""

BODY_TIMEOUT = 60.0
"""Seconds that a body may take to arrive."""


_TWICE = PydanticCustomError("duplicate_key", "A key stands twice in one object")


class BodyReader:
    """Reads bodies of at most `max_bytes` each, and refuses one more if too many bytes are held."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Give the body of a request. Its bytes count as held until the block ends."""
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(BODY_TIMEOUT):
                    await self._fill(body, request)
            except TimeoutError:
                raise HTTPException(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"the body took more than {BODY_TIMEOUT:g} s to arrive.",
                    {"Connection": "close"},
                ) from None
            yield body
        finally:
            self._held -= len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        async for part in request.stream():
            body += part
            self._held += len(part)
            if len(body) > self._max_bytes:
                raise self._too_large()
            if self._held > MAX_BODIES * self._max_bytes:
                raise HTTPException(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "too many requests at once. Try again in a while.",
                    {"Retry-After": "1"},
                )

    def _too_large(self) -> HTTPException:
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body has more than {self._max_bytes:,} bytes.",
            {"Connection": "close"},
        )


def check_keys(body: bytearray, schema: type[BaseModel]) -> None:
    """Raise a `ValidationError` where an object in a body has a key twice: which counts is unclear.

    The body is JSON already.
    """

    def unique(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                place = (key,) if key in schema.model_fields else ()
                raise ValidationError.from_exception_data(
                    schema.__name__, [{"type": _TWICE, "loc": place, "input": None}]
                )
            seen.add(key)

    json.loads(body, object_pairs_hook=unique)


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns. If the client disconnects first, cancel it and raise."""
    task = asyncio.create_task(work)
    disconnected = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((task, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        disconnected.cancel()
        await asyncio.gather(task, disconnected, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
