"""OpenTelemetry: spans and metrics of calls for embeddings, and the traces that they belong to.

Nothing happens where the package `opentelemetry-api` is absent; the first call imports it. No
attribute holds a text, a key or a path. Nothing here knows a model or a framework.
"""

from ctxembed.telemetry.embedding_call import EmbeddingCall, Inputs, embedding_call, report_tokens
from ctxembed.telemetry.server_request import ServerRequest, describe_request, server_request
from ctxembed.telemetry.trace import add_event, trace_headers

__all__ = [
    "EmbeddingCall",
    "Inputs",
    "ServerRequest",
    "add_event",
    "describe_request",
    "embedding_call",
    "report_tokens",
    "server_request",
    "trace_headers",
]
