"""`FakeBackend`: vectors from hashes, made with the siblings in view, and faults on demand.

Good for counting calls and injecting faults. Whether vectors are right is tested on a real model.
"""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import blake2b
from threading import Lock

import numpy as np

from ctxembed.backends.identity import ModelIdentity
from ctxembed.batches import Batch, Limits
from ctxembed.documents import TokenizedChunk, sibling_fingerprint
from ctxembed.encoding import Array, Form, quantize_tanh, to_binary
from ctxembed.models import ModelSpec
from ctxembed.windows import Window

_SPEC = ModelSpec(
    name="fake",
    dimensions=16,
    max_tokens=1000,
    contextual=True,
    quantizer="tanh",
    window_tokens=1000,
    overlap_share=1 / 8,
    context_weight=1.0,
    neighbour_weight=0.0,
)


class FakeBackend:
    """A backend without a model: a token is a word, a vector is a hash of a chunk and its siblings.

    `batches` holds every batch that was embedded, unless `record` is off. `fault` is called with
    each batch first: what it raises goes out, and a list of arrays that it returns takes the place
    of the rows.
    """

    def __init__(
        self,
        spec: ModelSpec = _SPEC,
        limits: Limits | None = None,
        forms: frozenset[Form] = frozenset({"pooled", "int8", "binary"}),
        *,
        fault: Callable[[Batch], list[Array] | None] | None = None,
        delay: float = 0.0,
        record: bool = True,
    ) -> None:
        self.identity = ModelIdentity("fake", f"{spec.name}, {spec.dimensions}")
        self.spec = spec
        self.limits = limits or Limits(batch_tokens=2048)
        self.forms = forms
        self.batches: list[Batch] = []
        self.tokenized = 0
        self.closed = 0
        self._fault = fault
        self._delay = delay
        self._record = record
        self._lock = Lock()

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        """Return each chunk with one token per word; the ids are hashes of the words."""
        self.tokenized += len(chunks)
        return [
            TokenizedChunk(chunk, len(words), [int.from_bytes(_hash(w)[:4]) for w in words])
            for chunk in chunks
            for words in [chunk.split()]
        ]

    def embed(self, batch: Batch) -> list[Array]:
        """Return the rows of every window, or what `fault` says."""
        if self._record:
            with self._lock:
                self.batches.append(batch)
        given = self._fault(batch) if self._fault else None
        if given is not None:
            return given
        before = "" if batch.prefix is None else batch.prefix.text
        rows = [fake_rows(window, self.spec.dimensions, before) for window in batch.windows]
        if batch.form == "pooled":
            return rows
        return [quantize_tanh(row) if batch.form == "int8" else to_binary(row) for row in rows]

    async def aembed(self, batch: Batch) -> list[Array]:
        """Like `embed`, after `delay` seconds."""
        await asyncio.sleep(self._delay)
        return self.embed(batch)

    def close(self) -> None:
        """Count the call."""
        self.closed += 1

    @property
    def windows(self) -> list[Window]:
        """Every window embedded so far, in order."""
        return [window for batch in self.batches for window in batch.windows]


def fake_rows(window: Window, dimensions: int, prefix: str = "") -> Array:
    """Return float32 rows in -0.5..0.5: 3/4 the chunk's own hash, 1/4 that of all siblings."""
    words = [
        "\n".join(map(str, chunk.ids or ())) if chunk.text == "" else chunk.text
        for chunk in window.chunks
    ]
    together = _unit(sibling_fingerprint([prefix, *words]), dimensions)
    return np.stack([0.75 * _unit(word, dimensions) + 0.25 * together for word in words])


def _hash(text: str, size: int = 8) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _unit(text: str, dimensions: int) -> Array:
    seed = b"".join(_hash(f"{block}:{text}", 64) for block in range(-(-dimensions // 64)))
    return np.frombuffer(seed, np.uint8)[:dimensions].astype(np.float32) / np.float32(255) - 0.5
