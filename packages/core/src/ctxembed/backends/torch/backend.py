"""`TorchBackend`: windows to rows through one loaded model, or the same on several devices."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from ctxembed.backends.identity import ModelIdentity
from ctxembed.backends.tokenizer import Span, window_ids
from ctxembed.backends.torch.model import Loaded
from ctxembed.backends.torch.pooling import in_form, segment_means
from ctxembed.batches import Batch, Limits
from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import Array, Form, local_forms
from ctxembed.errors import BackendError, DeviceMemoryError, EmbedError, NonFiniteError
from ctxembed.forks import fork_lock
from ctxembed.models import ModelSpec

LaidOut = tuple[Sequence[int], list[Span]]
"""A window's token ids, and the tokens that each of its rows is the mean of."""

_SMALLER = "Hint: a smaller batch_tokens or window_tokens takes less memory."

Found = tuple[Tensor, Tensor]
"""Rows, and whether all of them are finite: on the device, where work on them may still go on."""


class TorchBackend:
    """A backend over local weights; what it loaded it may share with others.

    Each of `loaded` holds the same model; a batch goes to the one that has the fewest to do.
    """

    def __init__(
        self, loaded: Sequence[Loaded], spec: ModelSpec, limits: Limits, identity: ModelIdentity
    ) -> None:
        self.spec = spec
        self.identity = identity
        self.limits = limits
        self.forms = local_forms(spec.quantizer)
        self._loaded = tuple(loaded)
        self._under_way = [0] * len(self._loaded)
        self._lock = fork_lock()

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        """Return each chunk with its ids; text like a special token is ordinary text."""
        return self._open()[0].tokenizer.tokenize(chunks)

    def embed(self, batch: Batch) -> list[Array]:
        """Return one (chunks, dimensions) array per window, once a model is free."""
        laid_out = self._laid_out(batch)
        too_small: set[int] = set()
        while laid_out:
            with self._one(too_small) as loaded:
                found = loaded.queue.submit(_found, loaded, laid_out, batch.form).result()
                return _on_host(found, laid_out)
        return []

    async def aembed(self, batch: Batch) -> list[Array]:
        """Like `embed`, without blocking the event loop."""
        laid_out = self._laid_out(batch)
        too_small: set[int] = set()
        while laid_out:
            with self._one(too_small) as loaded:
                found = await loaded.queue.arun(_found, loaded, laid_out, batch.form)
                return await asyncio.to_thread(_on_host, found, laid_out)
        return []

    def close(self) -> None:
        """Let go of the weights, which stay for as long as another backend uses them."""
        self._loaded = ()

    def _open(self) -> tuple[Loaded, ...]:
        loaded = self._loaded
        if not loaded:
            raise BackendError("the embedder is closed. Hint: open another.")
        return loaded

    def _laid_out(self, batch: Batch) -> list[LaidOut]:
        tokenizer = self._open()[0].tokenizer  # that of all of them
        return [window_ids(window, batch.prefix, tokenizer) for window in batch.windows]

    @contextmanager
    def _one(self, too_small: set[int]) -> Iterator[Loaded]:
        """Give the model with the fewest batches under way, of those whose memory may suffice.

        One whose memory doesn't is added to `too_small`, and the block is left without an error, as
        long as there are others.
        """
        loaded = self._open()
        with self._lock:
            left = [number for number in range(len(loaded)) if number not in too_small]
            number = min(left, key=self._under_way.__getitem__)
            self._under_way[number] += 1
        try:
            yield loaded[number]
        except DeviceMemoryError:
            too_small.add(number)
            if len(left) == 1:
                raise
        finally:
            with self._lock:
                self._under_way[number] -= 1


def _found(loaded: Loaded, windows: Sequence[LaidOut], form: Form) -> Found:
    """Return the rows of all windows; runs in the model's own thread.

    A GPU is given its work and not waited for, so that the next batch is there when it is done.
    What doesn't fit into its memory is halved, and later batches are cut to what did fit.
    """
    done: list[Found] = []
    start = 0
    while start < len(windows):
        part = _first(windows[start:], loaded.memory.tokens)
        found = _attempt(loaded, part, form)
        if found is not None:
            done.append(found)
            start += len(part)
        elif len(part) == 1:
            raise DeviceMemoryError(f"{_failed(part, 'out of memory')} {_SMALLER}")
        else:
            loaded.memory.tokens = max(1, _tokens(part) // 2)
    rows, finite = zip(*done, strict=True)
    return (torch.cat(rows), torch.stack(finite).all()) if len(done) > 1 else done[0]


def _first(windows: Sequence[LaidOut], limit: int) -> Sequence[LaidOut]:
    """Return as many of the windows, from the first, as have `limit` tokens; one at the least."""
    ends = accumulate(len(ids) for ids, _ in windows)
    return windows[: max(1, sum(end <= limit for end in ends))]


def _attempt(loaded: Loaded, windows: Sequence[LaidOut], form: Form) -> Found | None:
    """Return the rows of windows that go through together, None where memory didn't suffice."""
    try:
        with torch.inference_mode():
            states = loaded.model.states([ids for ids, _ in windows])
            pooled = segment_means(states, _spans(windows))
            return in_form(pooled, form), torch.isfinite(pooled).all()
    except EmbedError:
        raise
    except torch.OutOfMemoryError:
        pass  # outside this clause, whose error holds on to everything that was allocated
    except Exception as error:  # a device that went away: torch has no common base
        raise BackendError(_failed(windows, type(error).__name__)) from error
    if loaded.model.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _spans(windows: Sequence[LaidOut]) -> list[Span]:
    """Return the spans of all windows, counted in the sequence that they are packed into."""
    spans: list[Span] = []
    first = 0
    for ids, mine in windows:
        spans += [(first + start, first + stop) for start, stop in mine]
        first += len(ids)
    return spans


def _on_host(found: Found, windows: Sequence[LaidOut]) -> list[Array]:
    """Return one array per window, once the device is done with them.

    Raises:
        NonFiniteError: a mean isn't finite.
    """
    rows, finite = found
    try:
        all_finite, array = bool(finite), rows.cpu().numpy()
    except Exception as error:  # what goes wrong on a device comes to light here
        raise BackendError(_failed(windows, type(error).__name__)) from error
    if not all_finite:
        raise NonFiniteError
    return np.split(array, np.cumsum([len(spans) for _, spans in windows])[:-1])


def _tokens(windows: Sequence[LaidOut]) -> int:
    return sum(len(ids) for ids, _ in windows)


def _failed(windows: Sequence[LaidOut], why: str) -> str:
    return f"the model failed on {_tokens(windows)} tokens ({why})."
