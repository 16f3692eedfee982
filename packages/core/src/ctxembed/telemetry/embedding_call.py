"""`EmbeddingCall`: one call for embeddings of documents or of queries, and its span.

The batches of a call run in threads and tasks that know nothing of its span. `EmbeddingCall.batch`
makes the span current there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from ctxembed.telemetry import names
from ctxembed.telemetry.metrics import record
from ctxembed.telemetry.trace import Value, is_installed, mark_failed, model_name, tracer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

Inputs = Literal["documents", "queries"]
"""What a call embeds. Their number is the attribute `ctxembed.documents` or `ctxembed.queries`."""

_DEFAULT_PORTS = {"http": 80, "https": 443}

_CALL: ContextVar[EmbeddingCall | None] = ContextVar("ctxembed_call", default=None)
"""The call whose batch this thread or task runs."""


@dataclass(slots=True, eq=False)
class EmbeddingCall:
    """A call under way and what it has done so far; without a span where there can be none.

    `tokens` counts what the model has read, and `reported` what a server says that it has read.
    """

    inputs: int = 0
    cached: int = 0
    failed: int = 0
    tokens: int = 0
    reported: int | None = None
    span: Span | None = None
    context: Context | None = None
    lock: Lock = field(default_factory=Lock)

    def take(self, inputs: int, cached: int) -> None:
        """Count documents or queries that the call goes on to, and those that are known already."""
        self.inputs += inputs
        self.cached += cached
        if cached and self.span is not None:
            self.span.add_event(names.CACHE_EVENT, {names.CACHED_DOCUMENTS: cached})

    @contextmanager
    def batch(self, windows: int, tokens: int) -> Iterator[None]:
        """Make the span current while the block gives a batch to the model; add an event for it."""
        if self.span is None or self.context is None:
            yield
            return
        from opentelemetry.context import attach, detach

        attributes: dict[str, Value] = {names.WINDOWS: windows, names.TOKENS: tokens}
        began, attached, call = perf_counter(), attach(self.context), _CALL.set(self)
        try:
            yield
        except BaseException as error:
            attributes[names.ERROR_TYPE] = type(error).__name__
            raise
        else:
            with self.lock:
                self.tokens += tokens
        finally:
            _CALL.reset(call)
            detach(attached)
            attributes[names.SECONDS] = perf_counter() - began
            self.span.add_event(names.BATCH_EVENT, attributes)

    @property
    def read_tokens(self) -> int:
        """The tokens that the model has read, by the server's figure where there is one."""
        return self.tokens if self.reported is None else self.reported


def report_tokens(tokens: int) -> None:
    """Count tokens that a server reports for the batch which this thread or task runs."""
    call = _CALL.get()
    if call is not None:
        with call.lock:
            call.reported = tokens + (call.reported or 0)


@contextmanager
def embedding_call(
    model: str, dimensions: int, inputs: Inputs, address: str | None = None
) -> Iterator[EmbeddingCall]:
    """Give a call for embeddings, whose span begins and ends with the block.

    `address` is the URL of the API, None for local weights. The span is not current in the block:
    that may be in a generator, and would change the current span of the generator's caller.
    """
    if not is_installed():
        yield EmbeddingCall()
        return
    from opentelemetry.trace import SpanKind, set_span_in_context

    model = model_name(model)
    attributes: dict[str, str | int] = {
        names.OPERATION_NAME: names.EMBEDDINGS,
        names.PROVIDER_NAME: names.LOCAL_PROVIDER if address is None else names.API_PROVIDER,
        names.REQUEST_MODEL: model,
        **_server(address),
    }
    span = tracer().start_span(
        f"{names.EMBEDDINGS} {model}",
        kind=SpanKind.INTERNAL if address is None else SpanKind.CLIENT,
        attributes={**attributes, names.DIMENSION_COUNT: dimensions},
    )
    call = EmbeddingCall(span=span, context=set_span_in_context(span))
    began = perf_counter()
    try:
        yield call
    except GeneratorExit:  # the caller needs no more of it
        raise
    except BaseException as error:
        attributes[names.ERROR_TYPE] = type(error).__name__
        mark_failed(span, type(error).__name__)
        raise
    finally:
        span.set_attributes(_done(call, inputs))
        span.end()
        record(attributes, perf_counter() - began, call.read_tokens)


def _done(call: EmbeddingCall, inputs: Inputs) -> dict[str, int]:
    """Return the attributes that are known at the end of a call."""
    done = {f"ctxembed.{inputs}": call.inputs, names.INPUT_TOKENS: call.read_tokens}
    if inputs == "documents":
        done[names.CACHED_DOCUMENTS] = call.cached
        done[names.FAILED_DOCUMENTS] = call.failed
    return done


def _server(address: str | None) -> dict[str, str | int]:
    """Return host and port of an address, and nothing else of it."""
    if address is None:
        return {}
    parts = urlsplit(address)
    found: dict[str, str | int] = {names.SERVER_ADDRESS: parts.hostname or ""}
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return found if port is None else found | {names.SERVER_PORT: port}
