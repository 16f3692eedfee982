"""The OpenAPI document: components from the types in `schemas`, paths from one table."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from ctxembed.server import schemas
from ctxembed.version import VERSION
from ctxembed.wire import CONTEXTUAL_PATH, INDEPENDENT_PATH

_REQUESTS: tuple[type[BaseModel], ...] = (
    schemas.EmbeddingsRequest,
    schemas.ContextualizedRequest,
)
_RESPONSES: tuple[type[BaseModel], ...] = (
    schemas.EmbeddingsResponse,
    schemas.ContextualizedResponse,
    schemas.ModelsResponse,
    schemas.State,
    schemas.ErrorResponse,
    schemas.SchemaErrorResponse,
)
_REASONS = {
    400: "The model has another name, or the input is empty or too long.",
    401: "The key is missing or wrong.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    429: "The queue is full; `Retry-After` says when to try again.",
    500: "The model failed.",
    503: "The model is still loading, or the server is shutting down.",
}


def openapi_document(*, guarded: bool) -> dict[str, Any]:
    """Return the document; `guarded` says that `/v1/` asks for a key."""
    _, definitions = models_json_schema(
        [*_modes(_REQUESTS, "validation"), *_modes(_RESPONSES, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    components: dict[str, Any] = {"schemas": definitions["$defs"]}
    if guarded:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ctxembed",
            "version": VERSION,
            "description": "Contextual chunk embeddings from local weights, as the hosted API speaks.",
        },
        "paths": _paths(guarded=guarded),
        "components": components,
    }


def _modes(
    models: tuple[type[BaseModel], ...], mode: JsonSchemaMode
) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    return [(model, mode) for model in models]


def _paths(*, guarded: bool) -> dict[str, Any]:
    closed = (401,) if guarded else ()
    locks: dict[str, Any] = {"security": [{"key": []}]} if guarded else {}
    embed = locks | {
        "responses": _refusals(400, *closed, 408, 413, 429, 500, 503)
        | {"422": _json("The body has the wrong shape.", schemas.SchemaErrorResponse)}
    }
    ready = _json("Still loading, or shutting down.", schemas.State)
    return {
        CONTEXTUAL_PATH: {
            "post": _operation(
                "createContextualizedEmbeddings",
                "Embed documents, every chunk with the others of its document in view.",
                schemas.ContextualizedResponse,
                embed,
                schemas.ContextualizedRequest,
            )
        },
        INDEPENDENT_PATH: {
            "post": _operation(
                "createEmbeddings",
                "Embed texts, each alone.",
                schemas.EmbeddingsResponse,
                embed,
                schemas.EmbeddingsRequest,
            )
        },
        "/v1/models": {
            "get": _operation(
                "listModels",
                "List the names that are answered.",
                schemas.ModelsResponse,
                locks | {"responses": _refusals(*closed, 503)},
            )
        },
        "/health": {"get": _operation("getHealth", "Is the process up?", schemas.State, {})},
        "/ready": {
            "get": _operation(
                "getReady", "Are the weights loaded?", schemas.State, {"responses": {"503": ready}}
            )
        },
        "/metrics": {"get": _METRICS},
    }


_METRICS = {
    "operationId": "getMetrics",
    "summary": "Figures for Prometheus.",
    "responses": {
        "200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
}


def _operation(
    name: str,
    summary: str,
    response: type[BaseModel],
    rest: dict[str, Any],
    request: type[BaseModel] | None = None,
) -> dict[str, Any]:
    operation = {"operationId": name, "summary": summary} | rest
    operation["responses"] = {"200": _json("OK", response)} | rest.get("responses", {})
    if request is not None:
        operation["requestBody"] = {"required": True, "content": _content(request)}
    return operation


def _refusals(*statuses: int) -> dict[str, Any]:
    return {str(s): _json(_REASONS[s], schemas.ErrorResponse) for s in statuses}


def _json(description: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": description, "content": _content(model)}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"application/json": {"schema": reference}}
