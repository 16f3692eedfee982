"""`ServedModel`: what a server of one's own says of the model behind a name.

The vendor's models are in the table of models. A server of ours, `ctxembed serve`, may have any
model behind the same names, and tells its facts at `GET /v1/models`.
"""

import logging
import time
from http import HTTPStatus
from typing import Annotated

import httpx
import msgspec

from ctxembed.backends.api.client import errors_of_setup, request_headers, translated
from ctxembed.backends.api.endpoint import Endpoint
from ctxembed.errors import ApiError
from ctxembed.wire import DEFAULT_URL, MODELS_PATH

_LOG = logging.getLogger(__name__)

_ATTEMPT_SECONDS = 10.0
_MOST_BYTES = 2**20
_WAIT = 0.5
"""Seconds between two questions to a server that still loads its model."""

Size = Annotated[int, msgspec.Meta(ge=1, le=2**20)]


class ServedModel(msgspec.Struct, frozen=True):
    """The facts of one record. Sizes are in tokens; `fingerprint` is that of the server's vectors.

    A document is cut into windows by the server, so its window is no concern of the client.
    """

    fingerprint: str
    dimensions: Size
    max_chunk_tokens: Size
    usual_chunk_tokens: Size


class _Record(msgspec.Struct):
    id: str


class _Records(msgspec.Struct):
    data: list[msgspec.Raw]


def served_model(endpoint: Endpoint, name: str) -> ServedModel | None:
    """Ask what is behind a name; None, with a line in the log, where the server does not tell.

    The vendor's address is not asked. A server that is still loading is asked again, as long as one
    attempt at a request may take.
    """
    if endpoint.base_url == DEFAULT_URL:
        return None
    try:
        for raw in msgspec.json.decode(_answer(endpoint), type=_Records).data:
            if msgspec.json.decode(raw, type=_Record).id == name:
                return msgspec.json.decode(raw, type=ServedModel)
        reason = f"its answer has no {name}"
    except ApiError as error:
        reason = error.message.partition(" Hint:")[0].rstrip(".")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reason = "its answer lacks these facts"
    _LOG.warning(
        "%s does not tell which model is behind %s (%s). Dimensions and the usual size of chunks "
        "are taken to be those of the official model; set dimensions and chunk sizes for another.",
        *(endpoint.base_url, name, reason),
    )
    return None


def _answer(endpoint: Endpoint) -> bytes:
    """Return the body of a 200, or raise an `ApiError`."""
    seconds = min(endpoint.timeout, _ATTEMPT_SECONDS)
    given_up = time.monotonic() + endpoint.timeout
    with errors_of_setup():
        http = httpx.Client(headers=request_headers(endpoint), timeout=seconds)
    try:
        with http:
            while True:
                status, content = _attempt(http, f"{endpoint.base_url}{MODELS_PATH}", seconds)
                loading = status == HTTPStatus.SERVICE_UNAVAILABLE
                if not loading or time.monotonic() + _WAIT > given_up:
                    break
                time.sleep(_WAIT)
    except Exception as error:
        raise translated(error, endpoint) from error
    if status != HTTPStatus.OK:
        raise ApiError(f"the server answered {status}", status_code=status)
    return content


def _attempt(http: httpx.Client, url: str, seconds: float) -> tuple[int, bytes]:
    """Return status and body of an answer that is there in time, or raise an `httpx.HTTPError`."""
    until = time.monotonic() + seconds
    content = bytearray()
    with http.stream("GET", url) as reply:
        for part in reply.iter_bytes():
            content += part
            if len(content) > _MOST_BYTES:
                raise httpx.StreamError("")
            if time.monotonic() > until:
                raise httpx.ReadTimeout("")
        return reply.status_code, bytes(content)
