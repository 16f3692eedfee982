"""`ServerRequest`: one request to a server, and its span in the trace that the client began."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from ctxembed.telemetry import names
from ctxembed.telemetry.trace import context_of, is_installed, mark_failed, model_name, tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
_OTHER_METHOD = "_OTHER"


@dataclass(slots=True)
class ServerRequest:
    """What is known of a request once it has been answered; a status of 0 is none."""

    status: int = 0
    tokens: int = 0


@contextmanager
def server_request(
    method: str, route: str | None, scheme: str, headers: Iterable[tuple[bytes, bytes]]
) -> Iterator[ServerRequest]:
    """Give a request, whose span begins and ends with the block and is current in it.

    The span continues the trace of the headers, or the current one where there is one. `route` is
    None for a path that the server does not know.
    """
    request = ServerRequest()
    if not is_installed():
        yield request
        return
    from opentelemetry.trace import SpanKind

    method = method if method in _METHODS else _OTHER_METHOD
    name = "HTTP" if method == _OTHER_METHOD else method
    attributes = {names.REQUEST_METHOD: method, names.URL_SCHEME: scheme}
    if route is not None:
        attributes |= {names.ROUTE: route, names.URL_PATH: route}
    with tracer().start_as_current_span(
        name if route is None else f"{name} {route}",
        context_of(headers),
        kind=SpanKind.SERVER,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield request
        except BaseException as error:
            mark_failed(span, type(error).__name__)
            raise
        finally:
            _describe_answer(span, request)


def _describe_answer(span: Span, request: ServerRequest) -> None:
    if request.tokens:
        span.set_attribute(names.INPUT_TOKENS, request.tokens)
    if request.status:
        span.set_attribute(names.RESPONSE_STATUS, request.status)
    if request.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        mark_failed(span, str(request.status))


def describe_request(model: str, dimensions: int, documents: int, cached: int) -> None:
    """Say on the span of a request what the model has to do for it."""
    if is_installed():
        from opentelemetry.trace import get_current_span

        get_current_span().set_attributes(
            {
                names.OPERATION_NAME: names.EMBEDDINGS,
                names.PROVIDER_NAME: names.LOCAL_PROVIDER,
                names.REQUEST_MODEL: model_name(model),
                names.DIMENSION_COUNT: dimensions,
                "ctxembed.documents": documents,
                names.CACHED_DOCUMENTS: cached,
            }
        )
