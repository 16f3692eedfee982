"""`create_app`: the routes, and what stands around them, as one ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ctxembed.embedder import Embedder
from ctxembed.errors import EmbedError
from ctxembed.server.authentication import ServerKey
from ctxembed.server.error_responses import Refusal, json_response, response_of
from ctxembed.server.lifecycle import Lifecycle
from ctxembed.server.metrics import Metrics
from ctxembed.server.middleware import Gate
from ctxembed.server.model_names import checked_aliases
from ctxembed.server.openapi import openapi_document
from ctxembed.server.request_body import Bodies, unless_gone
from ctxembed.server.schemas import ContextualizedRequest, EmbeddingsRequest
from ctxembed.wire import CONTEXTUAL_PATH, INDEPENDENT_PATH

MAX_QUEUE_TOKENS = 1_000_000
MAX_BODY_BYTES = 8 * 2**20
"""About 70 bytes for each of the 120,000 tokens that a request may have."""


def create_app(
    embedder: Embedder | Callable[[], Embedder],
    *,
    api_key: str | None = None,
    aliases: Sequence[str] = (),
    max_queue_tokens: int = MAX_QUEUE_TOKENS,
    max_body_bytes: int = MAX_BODY_BYTES,
    failed: Callable[[Exception], None] | None = None,
) -> Starlette:
    """Return a server of the embeddings API over an embedder's model.

    Of its settings, encoding, dimensions and normalisation come from each request instead. Given a
    function, it is called when the server has started, in a thread; `failed` gets what it raises. The
    server closes the embedder when it ends. `app.state.lifecycle` tells and changes its status.

    Args:
        embedder: Local weights, opened or to be opened.
        api_key: What clients have to send as bearer token; None asks for none.
        aliases: Model ids to answer besides the official ones.
        max_queue_tokens: Tokens that may wait for the model; beyond, 429.
        max_body_bytes: Size of a request's body; beyond, 413.
    """
    key = None if api_key is None else ServerKey(api_key)
    metrics = Metrics()
    lifecycle = Lifecycle(
        embedder if not isinstance(embedder, Embedder) else lambda: embedder,
        metrics,
        aliases=checked_aliases(aliases),
        max_queue_tokens=max_queue_tokens,
        failed=failed,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with lifecycle.run():
            yield

    routes = _routes(lifecycle, metrics, Bodies(max_body_bytes), guarded=key is not None)
    paths = frozenset(route.path for route in routes)
    gate = Middleware(
        Gate,
        key=key,
        metrics=metrics,
        routes=paths,
        draining=lambda: lifecycle.status == "draining",
    )
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[gate],
        exception_handlers=_HANDLERS,
    )
    app.router.redirect_slashes = False
    app.state.lifecycle = lifecycle
    return app


def _routes(
    lifecycle: Lifecycle, metrics: Metrics, bodies: Bodies, *, guarded: bool
) -> list[Route]:
    document = openapi_document(guarded=guarded)

    def embed(
        schema: type[EmbeddingsRequest | ContextualizedRequest],
    ) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            service = lifecycle.service
            async with bodies.read(request) as body:
                asked = schema.model_validate_json(body)
                answer = await unless_gone(request, service.answer(asked))
            request.state.tokens = answer.tokens
            headers = {
                "X-Ctxembed-Model": quote(service.served_model),
                "X-Ctxembed-Fingerprint": service.fingerprint,
            }
            return Response(answer.body, headers=headers, media_type="application/json")

        return endpoint

    async def models(_: Request) -> Response:
        records = [record.model_dump() for record in lifecycle.service.models()]
        return json_response({"object": "list", "data": records})

    async def health(_: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(_: Request) -> Response:
        up = lifecycle.status == "ready"
        status = HTTPStatus.OK if up else HTTPStatus.SERVICE_UNAVAILABLE
        return json_response({"status": lifecycle.status}, status)

    async def figures(_: Request) -> Response:
        return metrics.response()

    async def openapi(_: Request) -> Response:
        return json_response(document)

    return [
        Route(CONTEXTUAL_PATH, embed(ContextualizedRequest), methods=["POST"]),
        Route(INDEPENDENT_PATH, embed(EmbeddingsRequest), methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", figures),
        Route("/openapi.json", openapi),
    ]


async def _refused(_: Request, error: Exception) -> Response:
    return response_of(error)


_HANDLERS = dict.fromkeys(
    (Refusal, EmbedError, ValidationError, HTTPException, ClientDisconnect), _refused
)
