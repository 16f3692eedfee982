"""The OpenAPI document: components from the types in `schemas`, paths from `routes`."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from ctxembed.server.routes import OPERATIONS, Operation
from ctxembed.server.schemas import ErrorResponse
from ctxembed.version import VERSION


def openapi_document(*, guarded: bool) -> dict[str, Any]:
    """Return the document; `guarded` says that routes which are not public ask for a key."""
    _, definitions = models_json_schema(
        list(_types()), ref_template="#/components/schemas/{model}"
    )
    components: dict[str, Any] = {"schemas": definitions["$defs"]}
    if guarded:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ctxembed",
            "version": VERSION,
            "description": "Contextual chunk embeddings from local weights.",
        },
        "paths": {
            each.path: {each.method.lower(): _operation(each, guarded=guarded)}
            for each in OPERATIONS
            if each.responses
        },
        "components": components,
    }


def _types() -> Iterator[tuple[type[BaseModel], JsonSchemaMode]]:
    for operation in OPERATIONS:
        if operation.request is not None:
            yield operation.request, "validation"
        for _, body in operation.responses.values():
            if body is not None:
                yield body, "serialization"


def _operation(operation: Operation, *, guarded: bool) -> dict[str, Any]:
    responses = dict(operation.responses)
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if guarded and not operation.public:
        described["security"] = [{"key": []}]
        responses[401] = ("The key is missing or wrong.", ErrorResponse)
    if operation.request is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.request)}
    described["responses"] = {
        str(status): {"description": description, "content": _content(body)}
        for status, (description, body) in responses.items()
    }
    return described


def _content(model: type[BaseModel] | None) -> dict[str, Any]:
    if model is None:
        return {"text/plain": {"schema": {"type": "string"}}}
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"application/json": {"schema": reference}}
