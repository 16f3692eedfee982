"""What the server counts for Prometheus, in a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

_TOKENS = (64, 256, 1024, 4096, 16_384, 65_536, 262_144)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ctxembed_requests", "Requests.", ("route", "status"), registry=self._registry
        )
        self._tokens = Counter(
            "ctxembed_tokens", "Tokens of answered requests.", ("route",), registry=self._registry
        )
        self._seconds = Histogram(
            "ctxembed_request_seconds",
            "Seconds from the head of a request to the end of its response.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batch_tokens = Histogram(
            "ctxembed_batch_tokens",
            "Tokens of the windows in one model call.",
            buckets=_TOKENS,
            registry=self._registry,
        )
        self._batch_seconds = Histogram(
            "ctxembed_batch_seconds",
            "Seconds of one model call.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._cached = Counter(
            "ctxembed_cached_documents",
            "Documents that were in the cache, or equal another one of their request.",
            registry=self._registry,
        )
        self._queue = Gauge(
            "ctxembed_queue_tokens", "Tokens waiting or in the model.", registry=self._registry
        )

    def watch_queue(self, held_tokens: Callable[[], int]) -> None:
        """Take the depth of the queue from `held_tokens` from now on."""
        self._queue.set_function(held_tokens)

    def observe_batch(self, tokens: int, seconds: float) -> None:
        """Count a model call."""
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def observe_cached(self, documents: int) -> None:
        """Count documents that the model did not have to read."""
        self._cached.inc(documents)

    def observe_request(self, route: str, status: int, seconds: float, tokens: int) -> None:
        """Count a request that has ended."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if tokens:
            self._tokens.labels(route).inc(tokens)

    def response(self) -> Response:
        """Return all metrics in the text format of Prometheus."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
