"""What OpenTelemetry's SDK collects while a test runs, in memory."""

import json
import threading

import pytest


class Collected:
    """Spans and metrics, and their names and attributes as one text."""

    def __init__(self, reader):
        self._reader = reader
        self._ended = threading.Condition()
        self.spans = []
        self.tracer = None

    def add(self, span):
        with self._ended:
            self.spans.append(span)
            self._ended.notify_all()

    def wait_for_spans(self, count):
        """Return the spans in the order of their beginnings, when so many have ended."""
        with self._ended:
            assert self._ended.wait_for(lambda: len(self.spans) >= count, 20)
        assert len(self.spans) == count
        return sorted(self.spans, key=lambda span: span.start_time)

    def named(self, start):
        return [span for span in self.spans if span.name.startswith(start)]

    def metrics(self):
        """Return the data points of each metric by its name; every call collects them anew."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def everything(self):
        """Return all that would be exported, as one text."""
        data = self._reader.get_metrics_data()
        spans = [json.loads(span.to_json()) for span in self.spans]
        return json.dumps(spans, ensure_ascii=False) + (data.to_json() if data else "")


@pytest.fixture
def collected(monkeypatch):
    """Collect what is recorded from now on; the process has its former providers afterwards."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    reader = InMemoryMetricReader()
    found = Collected(reader)

    class Processor(SpanProcessor):
        def on_end(self, span):
            found.add(span)

    spans = TracerProvider(shutdown_on_exit=False)
    spans.add_span_processor(Processor())
    found.tracer = spans.get_tracer("test")
    meters = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: spans)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    yield found
    spans.shutdown()
    meters.shutdown()
