"""`OnnxBackend`: windows to rows through one loaded graph, pooled in numpy."""

from collections.abc import Sequence

import numpy as np

from ctxembed.backends.identity import ModelIdentity
from ctxembed.backends.onnx.model import Loaded
from ctxembed.backends.tokenizer import Span, window_ids
from ctxembed.batches import Batch, Limits
from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import Array, Floats, Form, local_forms, quantize_tanh, to_binary
from ctxembed.errors import BackendError, NonFiniteError, ResponseError
from ctxembed.models import ModelSpec


class OnnxBackend:
    """A backend over an ONNX graph; what it loaded it may share with others."""

    def __init__(
        self, loaded: Loaded, spec: ModelSpec, limits: Limits, identity: ModelIdentity
    ) -> None:
        self.spec = spec
        self.identity = identity
        self.limits = limits
        self.forms = local_forms(spec.quantizer)
        self._loaded: Loaded | None = loaded

    @property
    def device(self) -> str:
        """Where the graph runs: "cpu", or "cuda:" and a number."""
        gpu = self._open().session.gpu
        return "cpu" if gpu is None else f"cuda:{gpu}"

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        """Return each chunk with its ids; text like a special token is ordinary text."""
        return self._open().tokenizer.tokenize(chunks)

    def embed(self, batch: Batch) -> list[Array]:
        """Return one (chunks, dimensions) array per window, once the model is free."""
        loaded = self._open()
        return loaded.queue.submit(_rows, loaded, batch, self.spec.dimensions).result()

    async def aembed(self, batch: Batch) -> list[Array]:
        """Like `embed`, without blocking the event loop."""
        loaded = self._open()
        return await loaded.queue.arun(_rows, loaded, batch, self.spec.dimensions)

    def close(self) -> None:
        """Let go of the weights, which stay for as long as another backend uses them."""
        self._loaded = None

    def _open(self) -> Loaded:
        if self._loaded is None:
            raise BackendError("the embedder is closed. Hint: open another.")
        return self._loaded


def _rows(loaded: Loaded, batch: Batch, dimensions: int) -> list[Array]:
    """Return each window's rows; runs in the model's own thread."""
    laid_out = [window_ids(window, batch.prefix, loaded.tokenizer) for window in batch.windows]
    states = loaded.session.states([ids for ids, _ in laid_out])
    return [
        _in_form(_means(window, spans, dimensions), batch.form)
        for window, (_, spans) in zip(states, laid_out, strict=True)
    ]


def _means(states: Floats, spans: Sequence[Span], dimensions: int) -> Floats:
    """Return the mean of the states of each span, shape (spans, dimensions)."""
    if states.shape[1] != dimensions:
        raise ResponseError(
            f"states should have {dimensions} dimensions and have {states.shape[1]}."
        )
    with np.errstate(all="ignore"):  # what isn't finite is looked for below
        means = np.stack([states[start:stop].sum(axis=0) for start, stop in spans])
        means /= np.array([[max(1, stop - start)] for start, stop in spans], np.float32)
    if not np.isfinite(means).all():
        raise NonFiniteError
    return means


def _in_form(pooled: Floats, form: Form) -> Array:
    if form == "pooled":
        return pooled
    return quantize_tanh(pooled) if form == "int8" else to_binary(pooled)
