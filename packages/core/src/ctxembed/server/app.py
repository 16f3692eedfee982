"""`create_app` puts the server together: routes, middleware, lifecycle and handlers of errors."""

from collections.abc import Callable, Sequence

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ctxembed.embedder import Embedder
from ctxembed.errors import EmbedError
from ctxembed.server.authentication import ApiKey
from ctxembed.server.browsers import Allowed, BrowserGuard
from ctxembed.server.dispatcher import Dispatcher
from ctxembed.server.error_responses import error_response
from ctxembed.server.lifecycle import Lifecycle
from ctxembed.server.metrics import Metrics
from ctxembed.server.middleware import RequestMiddleware
from ctxembed.server.model_names import check_aliases
from ctxembed.server.openapi import openapi_document
from ctxembed.server.request_body import BodyReader
from ctxembed.server.routes import OPERATIONS
from ctxembed.server.service import Service
from ctxembed.wire import MAX_BODY_BYTES, MAX_QUEUE_TOKENS

_NOTHING = Allowed()


def create_app(
    embedder: Embedder | Callable[[], Embedder],
    *,
    api_key: str | None = None,
    aliases: Sequence[str] = (),
    allowed: Allowed = _NOTHING,
    max_queue_tokens: int = MAX_QUEUE_TOKENS,
    max_body_bytes: int = MAX_BODY_BYTES,
    failed: Callable[[Exception], None] | None = None,
) -> Starlette:
    """Return a server of the embeddings API over the model of an embedder.

    Each request chooses encoding, dimensions and normalisation; the other settings are those of the
    embedder. The server closes the embedder when it ends. `app.state.lifecycle` tells the status of
    the server and changes it.

    Args:
        embedder: Local weights, or a function that opens them. The function is called in a thread
            when the server has started.
        api_key: The bearer token that clients have to send; None asks for none.
        aliases: Model ids to answer besides the official ones.
        allowed: Hosts and origins besides loopback that a server without a key answers to. Pages of
            these origins may read the answers, with and without a key.
        max_queue_tokens: Tokens that may wait for the model; a request beyond gets 429.
        max_body_bytes: Size of the body of a request; a larger one gets 413.
        failed: Called with the error if the model cannot be opened.
    """
    key = None if api_key is None else ApiKey(api_key)
    guard = BrowserGuard(allowed) if key is None else None
    cors = [
        Middleware(
            CORSMiddleware,
            allow_origins=allowed.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    ]
    check_aliases(aliases)
    metrics = Metrics()

    def open_service() -> Service:
        opened = embedder if isinstance(embedder, Embedder) else embedder()
        dispatcher = Dispatcher(
            opened.backend, most_tokens=max_queue_tokens, observe=metrics.observe_batch
        )
        metrics.watch_queue(lambda: dispatcher.held)
        return Service(opened, dispatcher, aliases, cached=metrics.observe_cached)

    lifecycle = Lifecycle(open_service, failed)
    app = Starlette(
        routes=[Route(each.path, each.handler, methods=[each.method]) for each in OPERATIONS],
        lifespan=lambda _: lifecycle.run(),
        middleware=[
            *(cors if allowed.origins else ()),
            Middleware(
                RequestMiddleware,
                key=key,
                guard=guard,
                metrics=metrics,
                draining=lambda: lifecycle.status == "draining",
            ),
        ],
        exception_handlers=dict.fromkeys(_ANSWERED, _answer),
    )
    app.router.redirect_slashes = False
    app.state.lifecycle = lifecycle
    app.state.metrics = metrics
    app.state.body_reader = BodyReader(max_body_bytes)
    app.state.openapi = openapi_document(guarded=key is not None)
    return app


_ANSWERED = (EmbedError, ValidationError, HTTPException, ClientDisconnect)
"""Errors that are part of the API. Any other is logged by the middleware, without its message."""


async def _answer(_: Request, error: Exception) -> Response:
    return error_response(error)
