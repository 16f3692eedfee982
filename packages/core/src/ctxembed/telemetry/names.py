"""Names of attributes, metrics and events.

Those that begin with `gen_ai.` are from the semantic conventions for generative AI. In 2026 these
moved from open-telemetry/semantic-conventions to open-telemetry/semantic-conventions-genai, where
docs/gen-ai/gen-ai-spans.md has the span and its attributes, and docs/gen-ai/gen-ai-metrics.md the
metrics. The names of HTTP, servers and errors have stayed in open-telemetry/semantic-conventions,
in docs/http/http-spans.md. Those that begin with `ctxembed.` are ours.
"""

OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
DIMENSION_COUNT = "gen_ai.embeddings.dimension.count"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - the name of an attribute
OPERATION_DURATION = "gen_ai.client.operation.duration"
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - the name of a metric

EMBEDDINGS = "embeddings"
"""The value of `gen_ai.operation.name`."""

API_PROVIDER, LOCAL_PROVIDER = "perplexity", "ctxembed"
"""The values of `gen_ai.provider.name`. The first is a value that the conventions list."""

ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
REQUEST_METHOD = "http.request.method"
RESPONSE_STATUS = "http.response.status_code"
ROUTE = "http.route"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"

BATCH_EVENT = "ctxembed.batch"
CACHE_EVENT = "ctxembed.cache"
RETRY_EVENT = "ctxembed.retry"

CACHED_DOCUMENTS = "ctxembed.cached_documents"
FAILED_DOCUMENTS = "ctxembed.failed_documents"
WINDOWS = "ctxembed.windows"
TOKENS = "ctxembed.tokens"
SECONDS = "ctxembed.seconds"
ATTEMPT = "ctxembed.attempt"
WAIT = "ctxembed.wait"
