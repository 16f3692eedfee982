"""The settings as keyword arguments: types for editors and type checkers.

At run time `Settings` alone decides what is accepted. A test compares the two.
"""

from typing import TypedDict

from ctxembed.encoding import Encoding
from ctxembed.settings import BackendChoice, Dtype, EmptyChunks, LongChunks, Pooling


class SharedKeywords(TypedDict, total=False):
    """Settings as keywords, without those that a framework spells in its own way."""

    backend: BackendChoice
    revision: str | None
    dtype: Dtype
    dimensions: int | None
    encoding: Encoding
    normalize: bool
    window_tokens: int | None
    overlap_tokens: int | None
    context_weight: float | None
    neighbour_weight: float | None
    long_chunks: LongChunks
    long_queries: LongChunks | None
    empty: EmptyChunks
    pooling: Pooling
    query_prefix: str | None
    document_prefix: str | None
    batch_tokens: int | None
    cache: str | None
    cache_bytes: int
    base_url: str | None
    timeout: float | None
    max_retries: int | None
    concurrency: int | None
    tokenizer: str | None


class SettingsKeywords(SharedKeywords, total=False):
    """All settings as keywords, for editors and type checkers."""

    model: str
    device: str | None
