"""The routes of the server: one table of paths and handlers, with what the OpenAPI document says of each."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from ctxembed.server import schemas
from ctxembed.server.error_responses import json_response
from ctxembed.server.lifecycle import Lifecycle
from ctxembed.server.metrics import Metrics
from ctxembed.server.request_body import BodyReader, cancel_on_disconnect
from ctxembed.server.schemas import ContextualizedRequest, EmbeddingsRequest
from ctxembed.wire import CONTEXTUAL_PATH, INDEPENDENT_PATH

Errors = Mapping[int, tuple[str, type[BaseModel]]]
"""What each status means, and the type of its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One route. It takes a body if it has a `request`; its response is JSON if it has a `response`."""

    path: str
    handler: Callable[[Request], Awaitable[Response]]
    name: str
    summary: str
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    errors: Errors = field(default_factory=dict)
    public: bool = False
    """Whether it answers without a key."""

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "GET" if self.request is None else "POST"


def _embedding(
    schema: type[EmbeddingsRequest | ContextualizedRequest],
) -> Callable[[Request], Awaitable[Response]]:
    """Return the handler of a route that embeds bodies of this type."""

    async def handler(request: Request) -> Response:
        service = _lifecycle(request).service
        reader: BodyReader = request.app.state.body_reader
        async with reader.read(request) as body:
            parsed = schema.model_validate_json(body)
            answer = await cancel_on_disconnect(request, service.answer(parsed))
        request.state.tokens = answer.tokens
        headers = {
            "X-Ctxembed-Model": quote(service.served_model),
            "X-Ctxembed-Fingerprint": service.fingerprint,
        }
        return Response(answer.body, headers=headers, media_type="application/json")

    return handler


async def _models(request: Request) -> Response:
    data = _lifecycle(request).service.models()
    return json_response(schemas.ModelsResponse(object="list", data=data))


async def _health(_: Request) -> Response:
    return json_response({"status": "ok"})


async def _ready(request: Request) -> Response:
    status = _lifecycle(request).status
    code = HTTPStatus.OK if status == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
    return json_response({"status": status}, code)


async def _metrics(request: Request) -> Response:
    metrics: Metrics = request.app.state.metrics
    return metrics.response()


async def _openapi(request: Request) -> Response:
    return json_response(request.app.state.openapi)


def _lifecycle(request: Request) -> Lifecycle:
    lifecycle: Lifecycle = request.app.state.lifecycle
    return lifecycle


_UNAVAILABLE: Errors = {
    503: ("The model is still loading, or the server is shutting down.", schemas.ErrorResponse)
}
_EMBEDDING: Errors = {
    400: ("The model has another name, or the input is empty or too long.", schemas.ErrorResponse),
    408: ("The body took too long to arrive.", schemas.ErrorResponse),
    413: ("The body is too large.", schemas.ErrorResponse),
    422: ("The body has the wrong shape.", schemas.SchemaErrorResponse),
    429: ("The queue is full; `Retry-After` says when to try again.", schemas.ErrorResponse),
    500: ("The model failed.", schemas.ErrorResponse),
    **_UNAVAILABLE,
}

OPENAPI_PATH = "/openapi.json"
OPERATIONS = (
    Operation(
        path=CONTEXTUAL_PATH,
        handler=_embedding(ContextualizedRequest),
        name="createContextualizedEmbeddings",
        summary="Embed documents. Each chunk is embedded with the other chunks of its document.",
        request=ContextualizedRequest,
        response=schemas.ContextualizedResponse,
        errors=_EMBEDDING,
    ),
    Operation(
        path=INDEPENDENT_PATH,
        handler=_embedding(EmbeddingsRequest),
        name="createEmbeddings",
        summary="Embed texts, each alone.",
        request=EmbeddingsRequest,
        response=schemas.EmbeddingsResponse,
        errors=_EMBEDDING,
    ),
    Operation(
        path="/v1/models",
        handler=_models,
        name="listModels",
        summary="List the model ids that the server answers.",
        response=schemas.ModelsResponse,
        errors=_UNAVAILABLE,
    ),
    Operation(
        path="/health",
        handler=_health,
        name="getHealth",
        summary="Tell whether the process is up.",
        response=schemas.State,
        public=True,
    ),
    Operation(
        path="/ready",
        handler=_ready,
        name="getReady",
        summary="Tell whether the weights are loaded.",
        response=schemas.State,
        errors={
            503: ("The model is still loading, or the server is shutting down.", schemas.State)
        },
        public=True,
    ),
    Operation(
        path="/metrics",
        handler=_metrics,
        name="getMetrics",
        summary="Return metrics for Prometheus.",
        public=True,
    ),
    Operation(
        path=OPENAPI_PATH,
        handler=_openapi,
        name="getOpenapi",
        summary="Return this document.",
        public=True,
    ),
)
