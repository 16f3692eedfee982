"""What both ends of the embeddings API agree on: routes, limits, names of encodings and variables.

The client (`backends.api`) and the server (`server`) take these from here. Source: the API reference
and the public client library. What the bodies look like is in the two that write and read them.
"""

from __future__ import annotations

from typing import Literal

CONTEXTUAL_PATH = "/v1/contextualizedembeddings"
"""Takes documents, each a list of chunks."""

INDEPENDENT_PATH = "/v1/embeddings"
"""Takes texts, each embedded alone."""

WireFormat = Literal["base64_int8", "base64_binary", "float"]
"""Values of `encoding_format`; numbers ("float") are not given by the hosted API."""

MAX_DOCUMENTS = 512
MAX_CHUNKS = 16_000
MAX_DOCUMENT_TOKENS = 32_768
MAX_REQUEST_TOKENS = 120_000
MIN_DIMENSIONS = 128

KEY_VARIABLES = ("PERPLEXITY_API_KEY", "PPLX_API_KEY", "PERPLEXITYAI_API_KEY")
"""Environment variables that may hold the key; the first one that is set counts."""

URL_VARIABLE = "PERPLEXITY_BASE_URL"
DEFAULT_URL = "https://api.perplexity.ai"
