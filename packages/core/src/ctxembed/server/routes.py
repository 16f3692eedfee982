"""The routes of the server: one table that the application, the middleware and `openapi` read."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ctxembed.server import schemas
from ctxembed.server.lifecycle import Lifecycle
from ctxembed.server.metrics import Metrics
from ctxembed.server.request_body import BodyReader, cancel_on_disconnect
from ctxembed.server.schemas import ContextualizedRequest, EmbeddingsRequest
from ctxembed.wire import CONTEXTUAL_PATH, INDEPENDENT_PATH, MODELS_PATH

_PART = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route: what handles it, and what the OpenAPI document says of it.

    It takes a body of the type `request`, or none. `responses` has the meaning of each status and
    the type of its body, None for plain text; an operation without them is not documented. A
    `public` operation asks for no key.
    """

    method: str = "GET"
    path: str
    handler: Callable[[Request], Awaitable[Response]]
    name: str
    summary: str
    request: type[BaseModel] | None = None
    responses: Mapping[int, tuple[str, type[BaseModel] | None]]
    public: bool = False


def _embedding(
    schema: type[EmbeddingsRequest | ContextualizedRequest],
) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler of a route that embeds bodies of this type."""

    async def handler(request: Request) -> Response:
        service = _lifecycle(request).service
        reader: BodyReader = request.app.state.body_reader
        async with reader.read(request) as body:
            parsed = schema.model_validate_json(body)
            # the middleware lets go of it once the reply is sent, or nobody is left to send it to
            request.state.release = service.hold(parsed)
            answer = await cancel_on_disconnect(request, service.answer(parsed))
        request.state.tokens = answer.tokens
        headers = {
            "X-Ctxembed-Model": quote(service.served_model),
            "X-Ctxembed-Fingerprint": service.fingerprint,
        }
        return _InParts(answer.body, headers=headers, media_type="application/json")

    return handler


class _InParts(Response):
    """A body that goes out part by part, no faster than the client takes it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        for place in range(0, len(self.body), _PART):
            part = bytes(self.body[place : place + _PART])
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


async def _models(request: Request) -> Response:
    records = [record.model_dump() for record in _lifecycle(request).service.models()]
    return JSONResponse({"object": "list", "data": records})


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(request: Request) -> Response:
    status = _lifecycle(request).status
    code = HTTPStatus.OK if status == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"status": status}, code)


async def _metrics(request: Request) -> Response:
    metrics: Metrics = request.app.state.metrics
    return metrics.response()


async def _openapi(request: Request) -> Response:
    return JSONResponse(request.app.state.openapi)


def _lifecycle(request: Request) -> Lifecycle:
    lifecycle: Lifecycle = request.app.state.lifecycle
    return lifecycle


_UNAVAILABLE = "The model is still loading, or the server is shutting down."
_ERRORS: dict[int, tuple[str, type[BaseModel] | None]] = {
    400: ("The model has another name, or the input is empty or too long.", schemas.ErrorResponse),
    403: ("A page in a browser asks, or another host is meant.", schemas.ErrorResponse),
    408: ("The body took too long to arrive.", schemas.ErrorResponse),
    413: ("The body is too large, or the reply would be.", schemas.ErrorResponse),
    415: ("The body is not said to be JSON.", schemas.ErrorResponse),
    422: ("The body has the wrong shape.", schemas.SchemaErrorResponse),
    429: ("The queue is full; `Retry-After` says when to try again.", schemas.ErrorResponse),
    500: ("The model failed.", schemas.ErrorResponse),
    503: (_UNAVAILABLE, schemas.ErrorResponse),
}

OPERATIONS = (
    Operation(
        method="POST",
        path=CONTEXTUAL_PATH,
        handler=_embedding(ContextualizedRequest),
        name="createContextualizedEmbeddings",
        summary="Embed documents. Each chunk is embedded with the other chunks of its document.",
        request=ContextualizedRequest,
        responses={200: ("OK", schemas.ContextualizedResponse), **_ERRORS},
    ),
    Operation(
        method="POST",
        path=INDEPENDENT_PATH,
        handler=_embedding(EmbeddingsRequest),
        name="createEmbeddings",
        summary="Embed texts, each alone.",
        request=EmbeddingsRequest,
        responses={200: ("OK", schemas.EmbeddingsResponse), **_ERRORS},
    ),
    Operation(
        path=MODELS_PATH,
        handler=_models,
        name="listModels",
        summary="List the model ids that the server answers.",
        responses={
            200: ("OK", schemas.ModelsResponse),
            503: (_UNAVAILABLE, schemas.ErrorResponse),
        },
    ),
    Operation(
        path="/health",
        handler=_health,
        name="getHealth",
        summary="Tell whether the process is up.",
        responses={200: ("OK", schemas.State)},
        public=True,
    ),
    Operation(
        path="/ready",
        handler=_ready,
        name="getReady",
        summary="Tell whether the weights are loaded.",
        responses={200: ("OK", schemas.State), 503: (_UNAVAILABLE, schemas.State)},
        public=True,
    ),
    Operation(
        path="/metrics",
        handler=_metrics,
        name="getMetrics",
        summary="Return metrics for Prometheus.",
        responses={200: ("OK", None)},
        public=True,
    ),
    Operation(
        path="/openapi.json",
        handler=_openapi,
        name="getOpenapi",
        summary="Return this document.",
        responses={},
        public=True,
    ),
)
