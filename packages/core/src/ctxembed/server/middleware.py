"""`RequestMiddleware`: the key, a request id, metrics, the log and a span, for every request.

It lets no exception through, because servers and frameworks log exceptions with their messages, and
a message may hold text of a document. Log lines have no bodies, keys or query strings.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ctxembed.server.authentication import ApiKey
from ctxembed.server.browsers import BrowserGuard
from ctxembed.server.error_responses import CLIENT_CLOSED_REQUEST, error_response
from ctxembed.server.metrics import Metrics
from ctxembed.server.routes import OPERATIONS
from ctxembed.telemetry import ServerRequest, server_request

LOGGER = logging.getLogger("ctxembed.server")

_PATHS = {operation.path for operation in OPERATIONS}
_PUBLIC_PATHS = {operation.path for operation in OPERATIONS if operation.public}
_UNAUTHORIZED = HTTPException(
    HTTPStatus.UNAUTHORIZED,
    "Invalid API key provided. Send it as `Authorization: Bearer KEY`.",
    {"WWW-Authenticate": "Bearer"},
)
_SHUT_DOWN = HTTPException(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "the server shut down before this request was finished.",
    {"Retry-After": "5"},
)


class RequestMiddleware:
    """ASGI middleware. With a key, every route asks for it unless it is public.

    `guard` refuses what pages in browsers ask for, on every route.
    `draining` tells whether the server is shutting down. Requests cancelled then get a response.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: ApiKey | None,
        guard: BrowserGuard | None,
        metrics: Metrics,
        draining: Callable[[], bool],
    ) -> None:
        self._app = app
        self._key = key
        self._guard = guard
        self._metrics = metrics
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # below another application, `path` still has the prefix that this one is mounted at
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path in _PUBLIC_PATHS:  # probes, which would fill a trace store
            await self._answer(scope, receive, send, path)
            return
        route = path if path in _PATHS else None
        with server_request(scope["method"], route, scope["scheme"], scope["headers"]) as span:
            await self._answer(scope, receive, send, path, span)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        path: str,
        span: ServerRequest | None = None,
    ) -> None:
        request_id = uuid4().hex
        started = time.perf_counter()
        status = CLIENT_CLOSED_REQUEST

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            error = self._refusal(scope, path)
            if error is None:
                error = await self._error_of(scope, receive, send_with_id, request_id)
            if error is not None and status == CLIENT_CLOSED_REQUEST:
                await error_response(error)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = path if path in _PATHS else "other"
            state = scope.get("state", {})
            if "release" in state:
                state["release"]()
            tokens = state.get("tokens", 0)
            if span is not None:
                span.status, span.tokens = status, tokens
            self._metrics.observe_request(route, status, seconds, tokens)
            LOGGER.info(
                "%s %s %s %d, %d tokens, %.0f ms",
                request_id,
                scope["method"],
                route,
                status,
                tokens,
                1000 * seconds,
            )

    def _refusal(self, scope: Scope, path: str) -> Exception | None:
        refusal = None if self._guard is None else self._guard.refusal(scope)
        if refusal is not None or self._key is None or path in _PUBLIC_PATHS:
            return refusal
        sent = (value for name, value in scope["headers"] if name == b"authorization")
        return None if self._key.matches(next(sent, b"")) else _UNAUTHORIZED

    async def _error_of(
        self, scope: Scope, receive: Receive, send: Send, request_id: str
    ) -> Exception | None:
        """Let the application answer; return the error that it did not answer itself."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # any other cancellation, such as a timeout around the request, has its own response
            if not self._draining():
                raise
            return _SHUT_DOWN
        except Exception as error:  # noqa: BLE001 - see the module's docstring
            LOGGER.error("%s %s", request_id, _stack_of(error))  # noqa: TRY400 - same
            return error
        return None


def _stack_of(error: BaseException) -> str:
    """Return the types and stacks of an exception and its causes, without their messages."""
    parts = []
    cause: BaseException | None = error
    while cause is not None:
        stack = "".join(traceback.format_tb(cause.__traceback__))
        parts.append(f"{type(cause).__module__}.{type(cause).__qualname__}\n{stack}")
        cause = cause.__cause__ or cause.__context__
    return "caused by ".join(parts)
