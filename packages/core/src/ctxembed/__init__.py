"""Contextual chunk embeddings: every chunk embedded with the other chunks of its document.

Import what you need from here; nothing heavy is loaded before a backend is opened.
"""

from ctxembed.backends import Backend
from ctxembed.batches import Batch, Limits
from ctxembed.documents import Groups, TokenizedChunk, group, scatter, sibling_fingerprint
from ctxembed.embedder import Embedder
from ctxembed.encoding import Array, to_floats
from ctxembed.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    BackendError,
    ConfigurationError,
    DeviceMemoryError,
    DocumentTooLongError,
    EmbedError,
    EmptyChunkError,
    InputError,
    MissingDependencyError,
    ModelLoadError,
    NonFiniteError,
    RateLimitError,
    ResponseError,
)
from ctxembed.models import MODELS, ModelSpec, find_model
from ctxembed.settings import DEFAULT_MODEL, Settings
from ctxembed.usage import Usage
from ctxembed.version import VERSION
from ctxembed.windows import Window

__version__ = VERSION

__all__ = [
    "DEFAULT_MODEL",
    "MODELS",
    "ApiConnectionError",
    "ApiError",
    "ApiTimeoutError",
    "Array",
    "AuthenticationError",
    "Backend",
    "BackendError",
    "Batch",
    "ConfigurationError",
    "DeviceMemoryError",
    "DocumentTooLongError",
    "EmbedError",
    "Embedder",
    "EmptyChunkError",
    "Groups",
    "InputError",
    "Limits",
    "MissingDependencyError",
    "ModelLoadError",
    "ModelSpec",
    "NonFiniteError",
    "RateLimitError",
    "ResponseError",
    "Settings",
    "TokenizedChunk",
    "Usage",
    "Window",
    "find_model",
    "group",
    "scatter",
    "sibling_fingerprint",
    "to_floats",
]
