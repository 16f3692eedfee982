"""Everything but success, in the shapes of the hosted API; never with text of a document.

400, 401, 408, 413, 429 and 5xx have an `error` body, a malformed request a list of `detail`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from ctxembed.errors import DocumentTooLongError, EmbedError, InputError

CLIENT_GONE = 499
"""Only ever in logs and metrics: there is nobody left to read an answer."""

_TYPES = {
    400: "invalid_request",
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    503: "unavailable",
}


class Refusal(Exception):  # noqa: N818 - not always an error: a full queue, a model still loading
    """An answer other than the one that was asked for."""

    def __init__(
        self, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def response_of(error: Exception) -> Response:
    """Return the answer that an exception stands for; whatever isn't known is a 500."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_GONE)
    if isinstance(error, ValidationError):
        return _schema_response(error)
    if isinstance(error, HTTPException):
        return _error_response(Refusal(error.status_code, error.detail, error.headers))
    return _error_response(error if isinstance(error, Refusal) else _refusal_of(error))


def _refusal_of(error: Exception) -> Refusal:
    """Return what the client is told of an error: the reason for bad input, no more than 500 else."""
    if isinstance(error, DocumentTooLongError) and error.limit:
        message = f"{error.place}: has {error.tokens:,} tokens; the maximum is {error.limit:,}."
        return Refusal(HTTPStatus.BAD_REQUEST, message)
    if isinstance(error, InputError):
        return Refusal(HTTPStatus.BAD_REQUEST, _without_hint(str(error)))
    reason = "something went wrong."
    if isinstance(error, EmbedError):
        reason = _without_hint(error.message)
    message = f"the server could not embed this request: {reason}"
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, message)


def _without_hint(message: str) -> str:
    """Return a message without its advice, which is for callers of the library."""
    return message.partition(" Hint:")[0]


def _error_response(refusal: Refusal) -> Response:
    """Return the `error` body; the hosted API has a number as the code of 401 and a string else."""
    status = int(refusal.status)
    code: int | str = status if status == HTTPStatus.UNAUTHORIZED else str(status)
    kind = _TYPES.get(status, "internal_error")
    body = {"error": {"message": refusal.message, "type": kind, "code": code}}
    return json_response(body, status, refusal.headers)


def _schema_response(error: ValidationError) -> Response:
    """Return the `detail` body: where, what and which kind, without the input.

    Nothing is cut off here: the types in `schemas` stop before there are many problems.
    """
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    detail = [
        {"loc": ["body", *problem["loc"]], "msg": problem["msg"], "type": problem["type"]}
        for problem in problems
    ]
    return json_response({"detail": detail}, HTTPStatus.UNPROCESSABLE_ENTITY)


def json_response(
    body: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a body as JSON."""
    return Response(to_json(body), int(status), headers=headers, media_type="application/json")
