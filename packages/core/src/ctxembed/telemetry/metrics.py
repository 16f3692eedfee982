"""The two histograms of calls for embeddings: how long they take, and how many tokens."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from ctxembed.telemetry.names import OPERATION_DURATION, TOKEN_TYPE, TOKEN_USAGE
from ctxembed.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter, MeterProvider

_SECONDS = [0.01 * 2**n for n in range(14)]
_TOKENS = [float(4**n) for n in range(14)]
"""The boundaries of buckets that the conventions recommend."""


def record(attributes: Mapping[str, str | int], seconds: float, tokens: int) -> None:
    """Record a call that has ended."""
    from opentelemetry.metrics import get_meter_provider

    duration, usage = _histograms(get_meter_provider())
    duration.record(seconds, attributes)
    if tokens:
        usage.record(tokens, {**attributes, TOKEN_TYPE: "input"})


@lru_cache(maxsize=2)
def _histograms(provider: MeterProvider) -> tuple[Histogram, Histogram]:
    meter = provider.get_meter("ctxembed", VERSION)
    return (
        _histogram(meter, OPERATION_DURATION, "s", _SECONDS),
        _histogram(meter, TOKEN_USAGE, "{token}", _TOKENS),
    )


def _histogram(meter: Meter, name: str, unit: str, buckets: list[float]) -> Histogram:
    try:
        return meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=buckets)
    except TypeError:  # opentelemetry-api before 1.30 does not take them
        return meter.create_histogram(name, unit)
