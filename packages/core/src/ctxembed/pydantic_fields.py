"""`SettingsFields`: the settings as fields of a pydantic model.

The embedding classes of LangChain and LlamaIndex are such models and inherit them. Nothing else
imports this module, because pydantic comes with those frameworks. A test compares the fields with
`Settings`.
"""

from typing import Literal

from pydantic import BaseModel

from ctxembed.settings import (
    LARGEST_CACHE,
    BackendChoice,
    Dtype,
    EmptyChunks,
    LongChunks,
    Pooling,
    Settings,
)


class SettingsFields(BaseModel):
    """Every field of `Settings` apart from the model, whose name is the framework's.

    Two are different from `Settings`, because vector stores take floats: vectors have length 1 by
    default, and packed bits are no choice.
    """

    backend: BackendChoice = "auto"
    revision: str | None = None
    device: str | None = None
    dtype: Dtype = "auto"
    dimensions: int | None = None
    encoding: Literal["int8", "binary", "float"] = "int8"
    normalize: bool = True
    window_tokens: int | None = None
    overlap_tokens: int | None = None
    context_weight: float | None = None
    neighbour_weight: float | None = None
    long_chunks: LongChunks = "error"
    long_queries: LongChunks | None = None
    empty: EmptyChunks = "error"
    pooling: Pooling = "auto"
    query_prefix: str | None = None
    document_prefix: str | None = None
    batch_tokens: int | None = None
    cache: str | None = None
    cache_bytes: int = LARGEST_CACHE
    base_url: str | None = None
    timeout: float | None = None
    max_retries: int | None = None
    concurrency: int | None = None
    tokenizer: str | None = None

    def _settings(self, model: str) -> Settings:
        given = {name: getattr(self, name) for name in SettingsFields.model_fields}
        return Settings(model=model, **given)
