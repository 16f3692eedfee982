"""`Gate`: what every request passes on its way in and out; the key, a request id, figures, the log.

Nothing that a handler raises gets past it, because servers and frameworks log exceptions with their
messages, and a message may hold what it was about. Log lines have no bodies, keys or query strings.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ctxembed.server.authentication import ServerKey
from ctxembed.server.error_responses import CLIENT_GONE, Refusal, response_of
from ctxembed.server.metrics import Metrics

LOGGER = logging.getLogger("ctxembed.server")

_OPEN = frozenset(("/health", "/ready", "/metrics", "/openapi.json"))
_UNKNOWN = "other"


class Gate:
    """ASGI middleware. With a key, all but health, metrics and documentation ask for it.

    `draining` tells whether the server is shutting down: what it cancels then is answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: ServerKey | None,
        metrics: Metrics,
        routes: frozenset[str],
        draining: Callable[[], bool],
    ) -> None:
        self._app = app
        self._key = key
        self._metrics = metrics
        self._routes = routes
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        started = time.perf_counter()
        status = CLIENT_GONE
        # below another application `path` still has the prefix that it is mounted at
        path = scope["path"].removeprefix(scope.get("root_path", ""))

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            wrong = await self._pass_on(scope, receive, sending, path, request_id)
            if wrong is not None and status == CLIENT_GONE:
                await response_of(wrong)(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - started
            route = path if path in self._routes else _UNKNOWN
            tokens = scope.get("state", {}).get("tokens", 0)
            self._metrics.request(route, status, seconds, tokens)
            LOGGER.info(
                "%s %s %s %d, %d tokens, %.0f ms",
                request_id,
                scope["method"],
                route,
                status,
                tokens,
                1000 * seconds,
            )

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, path: str, request_id: str
    ) -> Exception | None:
        """Let the application answer, or return what is to be answered instead."""
        try:
            if path not in _OPEN and not self._allowed(scope):
                return _UNAUTHORIZED
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # whoever else cancels a request, such as a timeout around it, has an answer of its own
            if not self._draining():
                raise
            return _CUT_OFF
        except Exception as error:  # noqa: BLE001 - see above
            LOGGER.error("%s %s", request_id, _without_message(error))  # noqa: TRY400 - same
            return error
        return None

    def _allowed(self, scope: Scope) -> bool:
        if self._key is None:
            return True
        sent = (value for name, value in scope["headers"] if name == b"authorization")
        return self._key.opens(next(sent, b""))


_UNAUTHORIZED = Refusal(
    HTTPStatus.UNAUTHORIZED,
    "Invalid API key provided. Send it as `Authorization: Bearer KEY`.",
    {"WWW-Authenticate": "Bearer"},
)
_CUT_OFF = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "the server shut down before this request was finished.",
    {"Retry-After": "5"},
)


def _without_message(error: BaseException) -> str:
    """Return an exception's types and the places it went through, for it and its causes."""
    parts = []
    cause: BaseException | None = error
    while cause is not None:
        places = "".join(traceback.format_tb(cause.__traceback__))
        parts.append(f"{type(cause).__module__}.{type(cause).__qualname__}\n{places}")
        cause = cause.__cause__ or cause.__context__
    return "caused by ".join(parts)
