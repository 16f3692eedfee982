"""What spans have in common: whether there can be any, where they come from, how they fail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from ctxembed.telemetry.names import ERROR_TYPE
from ctxembed.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

Value = str | int | float
"""What an attribute may be here."""

_HUB_PARTS = 2


@cache
def is_installed() -> bool:
    """Tell whether the package `opentelemetry-api` is there."""
    try:
        from opentelemetry import context, metrics, trace  # noqa: F401
    except ImportError:
        return False
    return True


def tracer() -> Tracer:
    """Return the tracer of the provider that the process has now."""
    from opentelemetry.trace import get_tracer_provider

    return _tracer_of(get_tracer_provider())


@lru_cache(maxsize=2)
def _tracer_of(provider: TracerProvider) -> Tracer:
    return provider.get_tracer("ctxembed", VERSION)


def model_name(name: str) -> str:
    """Return the name of a model; of a path its last part, because the others are nobody's."""
    parts = re.split(r"[/\\]", name.rstrip("/\\"))
    is_path = len(parts) > _HUB_PARTS or "\\" in name or name.startswith(("/", ".", "~"))
    return parts[-1] if is_path else name


def add_event(name: str, attributes: Mapping[str, Value]) -> None:
    """Add an event to the current span."""
    if is_installed():
        from opentelemetry.trace import get_current_span

        get_current_span().add_event(name, attributes)


def mark_failed(span: Span, kind: str) -> None:
    """Mark a span as failed, without the message of the error, which may hold a path."""
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute(ERROR_TYPE, kind)
    span.set_status(Status(StatusCode.ERROR))


def trace_headers() -> dict[str, str]:
    """Return the headers by which a server continues the current trace; none without a trace.

    They are `traceparent` and `tracestate`. Baggage is left out, because it may hold anything.
    """
    headers: dict[str, str] = {}
    if is_installed():
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(headers)
    return headers


def context_of(headers: Iterable[tuple[bytes, bytes]]) -> Context | None:
    """Return the context of the trace in a request's headers.

    None stands for the current context, which goes before the headers where it has a span.
    """
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if get_current_span().get_span_context().is_valid:
        return None
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    return TraceContextTextMapPropagator().extract(carrier)
