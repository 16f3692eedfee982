"""Responses to requests that fail, in the shapes of the hosted API.

4xx and 5xx have an `error` body, except 422 for a body of the wrong shape, which has a list of
`detail`. No response holds the text of a document.
"""

from collections.abc import Mapping
from http import HTTPStatus

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from ctxembed.errors import DocumentTooLongError, EmbedError, InputError

CLIENT_CLOSED_REQUEST = 499
"""A status for logs and metrics only: no client is left to read the response."""

_TYPES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limit_exceeded",
    503: "unavailable",
}


def error_response(error: Exception) -> Response:
    """Return the response to a request that raised `error`; an unknown error is a 500."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    if isinstance(error, ValidationError):
        return _validation_response(error)
    if isinstance(error, HTTPException):
        return _error_body(error.status_code, error.detail, error.headers)
    if isinstance(error, InputError):
        return _error_body(HTTPStatus.BAD_REQUEST, _input_message(error))
    reason = _without_hint(error.message) if isinstance(error, EmbedError) else "internal error."
    return _error_body(
        HTTPStatus.INTERNAL_SERVER_ERROR, f"the server could not embed this request: {reason}"
    )


def _input_message(error: InputError) -> str:
    if isinstance(error, DocumentTooLongError) and error.limit:
        return f"{error.place}: has {error.tokens:,} tokens; the maximum is {error.limit:,}."
    return _without_hint(str(error))


def _without_hint(message: str) -> str:
    """Return a message without its advice, which is for callers of the library."""
    return message.partition(" Hint:")[0]


def _error_body(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the `error` body. As in the hosted API, `code` is a number for 401 only."""
    code = 401 if status == HTTPStatus.UNAUTHORIZED else str(int(status))
    kind = _TYPES.get(status, "internal_error")
    body = {"error": {"message": message, "type": kind, "code": code}}
    return JSONResponse(body, status, headers)


def _validation_response(error: ValidationError) -> Response:
    """Return the `detail` body: where, what and which kind, without the input.

    There are never many problems: the types in `schemas` stop at the first one of a list.
    """
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    detail = [
        {"loc": ["body", *problem["loc"]], "msg": problem["msg"], "type": problem["type"]}
        for problem in problems
    ]
    return JSONResponse({"detail": detail}, HTTPStatus.UNPROCESSABLE_ENTITY)
