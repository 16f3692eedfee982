"""The public API as a user's type checker sees it: checked by `nox -s types`, never run."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal, assert_type

import numpy as np
from numpy.typing import NDArray

from ctxembed import (
    Backend,
    Batch,
    Embedder,
    EmbedError,
    Groups,
    Limits,
    ModelSpec,
    RateLimitError,
    Settings,
    TokenizedChunk,
    Usage,
    find_model,
    group,
    scatter,
    sibling_fingerprint,
    to_floats,
)

Array = NDArray[np.generic]


class MyBackend:
    """A backend of one's own is any class with these members."""

    spec = ModelSpec(name="mine", dimensions=8, max_tokens=512)
    limits = Limits(batch_tokens=2048)
    forms: frozenset[Literal["pooled", "int8", "binary"]] = frozenset({"pooled"})

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        return [TokenizedChunk(chunk, len(chunk.split())) for chunk in chunks]

    def embed(self, batch: Batch) -> list[NDArray[np.float32]]:
        return [np.zeros((len(window.chunks), 8), np.float32) for window in batch.windows]

    async def aembed(self, batch: Batch) -> list[NDArray[np.float32]]:
        return self.embed(batch)

    def close(self) -> None:
        """Let go of nothing."""


def synchronous() -> None:
    settings = Settings(model="minilm", window_tokens=128, encoding="float", normalize=True)
    with Embedder.open(settings, api_key=None, dimensions=64) as embedder:
        rows = embedder.embed_documents([["a", "b"], ("c",)], progress=True)
        first: Array = rows[0]
        query: Array = embedder.embed_query("q")
        queries: Array = embedder.embed_queries(["q", "r"])
        for outcome in embedder.stream((["a"] for _ in range(3)), errors="return"):
            if isinstance(outcome, EmbedError):
                assert_type(outcome.document, int | None)
                moved: EmbedError = outcome.at(key="a.txt", chunk=None)
                raise moved
        assert_type(embedder.fingerprint, str)
        assert_type(embedder.usage, Usage)
        assert_type(to_floats(first), list[list[float]])
        del query, queries


async def asynchronous(texts: AsyncIterator[list[str]]) -> None:
    async with Embedder.open(model="minilm") as embedder:
        await embedder.aembed_documents([["a"]])
        await embedder.aembed_query("q")
        async for outcome in embedder.astream(texts):
            del outcome


def with_my_backend() -> None:
    by_hand(MyBackend())


def by_hand(backend: Backend) -> None:
    groups = group([("doc", "one"), (None, "alone")])
    assert_type(groups.documents, list[list[str]])
    embedder = Embedder(backend, Settings(context_weight=1))
    rows = scatter(
        [[*array] for array in embedder.embed_documents(groups.documents)], groups.positions
    )
    assert len(rows) == len(groups.positions)
    assert_type(sibling_fingerprint(["a"]), str)
    assert_type(find_model("minilm"), ModelSpec | None)


def failing(error: RateLimitError) -> None:
    assert_type(error.retry_after, float | None)
    assert_type(error.status_code, int | None)


def known(_: Groups[str]) -> None:
    """Groups name what they hold."""
