"""`TorchBackend`: windows to rows through one loaded model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ctxembed.backends.tokenization import Span, window_ids
from ctxembed.backends.torch.loaded import Loaded, TokenModel
from ctxembed.backends.torch.pooling import in_form, segment_means
from ctxembed.encoding import Array, Form
from ctxembed.errors import BackendError, EmbedError
from ctxembed.models import ModelSpec
from ctxembed.planning import Batch, Limits, TokenizedChunk


class TorchBackend:
    """A backend over local weights; what it loaded it may share with others."""

    def __init__(self, loaded: Loaded, spec: ModelSpec, limits: Limits) -> None:
        self.spec = spec
        self.limits = limits
        self.forms: frozenset[Form] = frozenset(("pooled",))
        if spec.quantizer == "tanh":
            self.forms = frozenset(("pooled", "int8", "binary"))
        self._loaded: Loaded | None = loaded

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        """Return each chunk with its ids; text like a special token is ordinary text."""
        return self._open().tokenizer.tokenize(chunks)

    def embed(self, batch: Batch) -> list[Array]:
        """Return one (chunks, dimensions) array a window, once the model is free."""
        loaded = self._open()
        if not batch.windows:
            return []
        windows, spans, counts = _laid_out(batch, loaded)
        rows = loaded.queue.run(_rows, loaded.model, windows, spans, batch.form)
        return np.split(rows, counts)

    async def aembed(self, batch: Batch) -> list[Array]:
        """Like `embed`, without blocking the event loop."""
        loaded = self._open()
        if not batch.windows:
            return []
        windows, spans, counts = _laid_out(batch, loaded)
        rows = await loaded.queue.arun(_rows, loaded.model, windows, spans, batch.form)
        return np.split(rows, counts)

    def close(self) -> None:
        """Let go of the weights, which stay for as long as another backend uses them."""
        self._loaded = None

    def _open(self) -> Loaded:
        if self._loaded is None:
            raise BackendError("the embedder is closed. Hint: open another.")
        return self._loaded


def _laid_out(batch: Batch, loaded: Loaded) -> tuple[list[Sequence[int]], list[Span], list[int]]:
    """Return each window's ids, all spans in the packed sequence, and where windows' rows end."""
    windows: list[Sequence[int]] = []
    spans: list[Span] = []
    ends: list[int] = []
    first = 0
    for window in batch.windows:
        ids, mine = window_ids(window, batch.prefix, loaded.tokenizer)
        windows.append(ids)
        spans += [(first + start, first + stop) for start, stop in mine]
        ends.append(len(spans))
        first += len(ids)
    return windows, spans, ends[:-1]


def _rows(
    model: TokenModel, windows: Sequence[Sequence[int]], spans: Sequence[Span], form: Form
) -> Array:
    """Return the rows of all spans; runs in the model's own thread."""
    try:
        with torch.inference_mode():
            pooled = segment_means(model.states(windows), spans)
            rows: Array = in_form(pooled, form).cpu().numpy()
    except EmbedError:
        raise
    except Exception as error:  # out of memory, a device that went away: torch has no common base
        message = (
            f"the model failed on {sum(map(len, windows))} tokens ({type(error).__name__}). "
            "Hint: a smaller batch_tokens or window_tokens takes less memory."
        )
        raise BackendError(message) from error
    return rows
