"""`ApiBackend`: windows to rows over HTTP; `load` opens it.

One event loop in a thread of its own does all the talking, so that threads and any number of event
loops share one pool of connections and one limit of requests in flight. `payloads` has what goes
over the wire, `client` how it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import CancelledError, wait
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ctxembed.backends import STOPPED
from ctxembed.backends.api import payloads
from ctxembed.backends.api.client import Client
from ctxembed.backends.api.endpoint import Endpoint, find_endpoint
from ctxembed.backends.api.event_loop import LoopThread
from ctxembed.backends.api.halving import send_in_halves
from ctxembed.backends.api.request_limits import lowered, request_limits
from ctxembed.backends.api.served_model import ServedModel, served_model
from ctxembed.backends.api.token_estimate import estimate_chunks
from ctxembed.backends.api.usage import Used, add_request
from ctxembed.backends.identity import ModelIdentity
from ctxembed.batches import Batch, Limits
from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import Array, Form
from ctxembed.errors import (
    BackendError,
    ConfigurationError,
    DocumentTooLongError,
    MissingDependencyError,
)
from ctxembed.models import MODELS, ModelSpec, find_model
from ctxembed.settings import Settings
from ctxembed.telemetry import report_tokens
from ctxembed.windows import Window
from ctxembed.wire import CONTEXTUAL_PATH, INDEPENDENT_PATH, MIN_DIMENSIONS

if TYPE_CHECKING:
    from ctxembed.backends.tokenizer import ChunkTokenizer

_SECONDS_BETWEEN_LOOKS = 0.1
_CLOSED = "the embedder was closed, or the call stopped, while this request was under way."


def load(settings: Settings, api_key: str | None = None) -> ApiBackend:
    """Return a backend that talks to the API.

    A server of one's own is asked which model it has behind the name, and the backend follows. To
    the vendor nothing is sent yet.

    Raises:
        ConfigurationError: There is no key, the API does not have the model, or the dimensions are
            out of its range.
    """
    official = _official(settings)
    endpoint = find_endpoint(settings, api_key)
    served = served_model(endpoint, official.name.rpartition("/")[2])
    spec = _spec(settings, official, served)
    limits = request_limits(spec, settings.batch_tokens, endpoint.concurrency)
    tokenizer = None if settings.tokenizer is None else _tokenizer(settings.tokenizer, spec)
    counter = settings.counter
    if tokenizer is not None:
        counter = f"{counter}:{tokenizer.digest()}"
    behind = "" if served is None else f"@{served.fingerprint}"
    identity = ModelIdentity("api", f"{spec.name}{behind}", endpoint.base_url, counter)
    return ApiBackend(spec, endpoint, limits, settings.dimensions, tokenizer, identity)


class ApiBackend:
    """Embeds over HTTP; many threads and event loops may use it at once.

    `limits` is what a request may carry, less where refusals have shown it. `used` is what the
    answered requests took. Both change in the thread of the event loop only.
    """

    forms: frozenset[Form] = frozenset({"int8", "binary"})

    def __init__(
        self,
        spec: ModelSpec,
        endpoint: Endpoint,
        limits: Limits,
        dimensions: int | None,
        tokenizer: ChunkTokenizer | None,
        identity: ModelIdentity | None = None,
    ) -> None:
        """Take what `load` has found; `dimensions` is what requests ask for, None for all."""
        self.spec = spec
        self.limits = limits
        self.identity = identity
        self.used: Used = (0, None)
        self._endpoint = endpoint
        self._dimensions = dimensions
        self._tokenizer = tokenizer
        self._loop = LoopThread("ctxembed-api", partial(Client, endpoint))

    def __repr__(self) -> str:
        return f"ApiBackend({self.spec.name!r}, {self._endpoint!r})"

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        """Return each chunk with its tokens, which are estimated where there is no tokenizer."""
        if len(chunks) > 1:
            self._loop.start()  # certificates are read while texts are counted
        if self._tokenizer is not None:
            return self._tokenizer.tokenize(chunks)
        return estimate_chunks(chunks, self.spec.max_tokens, self.spec.max_chunk_tokens)

    def embed(self, batch: Batch) -> list[Array]:
        """Return one (chunks, dimensions) array per window; cancelled when the call is stopped."""
        future = self._loop.submit(partial(self._rows, batch))
        stopped = STOPPED.get()
        while not future.done():
            wait((future,), _SECONDS_BETWEEN_LOOKS)
            if stopped is not None and stopped.is_set():
                future.cancel()
        try:
            return future.result()
        except CancelledError:
            raise BackendError(_CLOSED) from None

    async def aembed(self, batch: Batch) -> list[Array]:
        """Like `embed`, without blocking the event loop."""
        future = self._loop.submit(partial(self._rows, batch))
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise BackendError(_CLOSED) from None

    def close(self) -> None:
        """Cancel what is under way, and close the connections."""
        self._loop.close()

    async def _rows(self, batch: Batch, client: Client) -> list[Array]:
        send = partial(self._request, client)
        if self._endpoint.max_retries == 0:
            return await send(batch)
        return await send_in_halves(batch, send)

    async def _request(self, client: Client, batch: Batch) -> list[Array]:
        """Return the rows of a batch, sent as one request."""
        contextual, dimensions = self.spec.contextual, self.spec.dimensions
        documents = [[chunk.text for chunk in window.chunks] for window in batch.windows]
        if batch.prefix is not None:
            documents = [[batch.prefix.text + first, *rest] for first, *rest in documents]
        body = payloads.request_body(
            documents,
            model=self.spec.name.rpartition("/")[2],
            contextual=contextual,
            form=batch.form,
            dimensions=self._dimensions,
        )
        counts = [len(chunks) for chunks in documents]
        try:
            content = await client.post(
                CONTEXTUAL_PATH if contextual else INDEPENDENT_PATH,
                body,
                payloads.most_bytes(sum(counts), form=batch.form, dimensions=dimensions),
                divisible=len(documents) > 1,
            )
        except DocumentTooLongError as error:
            self.limits = lowered(self.limits, batch)
            raise _with_remedy(error, batch.windows[0]) from error.__cause__
        rows, usage = payloads.parse_reply(
            content, counts, contextual=contextual, form=batch.form, dimensions=dimensions
        )
        used = add_request(self.used, batch, usage, self.spec.price)
        report_tokens(used[0] - self.used[0])
        self.used = used
        return rows


def _with_remedy(error: DocumentTooLongError, window: Window) -> DocumentTooLongError:
    """Return the error with what to do, and with the number of the chunk in its document."""
    chunk = 0 if len(window.chunks) == 1 else error.chunk
    if chunk is None:
        return error.at(f"{error.message} Hint: set a smaller window_tokens.")
    return error.at(f"{error.message} Hint: split the chunk.", chunk=window.first + chunk)


def _official(settings: Settings) -> ModelSpec:
    spec = find_model(settings.model)
    if spec is None or spec.price is None:
        known = ", ".join(model.name for model in MODELS if model.price is not None)
        raise ConfigurationError(f"the API has no model {settings.model!r}. It has {known}.")
    return spec


def _spec(settings: Settings, spec: ModelSpec, served: ServedModel | None) -> ModelSpec:
    """Return the official record, with what the server says of its own model."""
    if served is not None:
        spec = replace(
            spec,
            dimensions=served.dimensions,
            max_chunk_tokens=served.max_chunk_tokens,
            usual_chunk_tokens=served.usual_chunk_tokens,
        )
    dimensions = spec.dimensions if settings.dimensions is None else settings.dimensions
    least = min(MIN_DIMENSIONS, spec.dimensions)
    if not least <= dimensions <= spec.dimensions:
        raise ConfigurationError(
            f"{'over the API' if served is None else 'on this server'} {spec.name} has {least} to "
            f"{spec.dimensions} dimensions, and dimensions is {dimensions}."
        )
    return replace(spec, dimensions=dimensions)


def _tokenizer(path: str, spec: ModelSpec) -> ChunkTokenizer:
    try:
        from ctxembed.backends.tokenizer_files import load_tokenizer
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'an exact count needs tokenizers. Run: python -m pip install "ctxembed[tokenizers]"'
        ) from error
    place = Path(path).expanduser()
    return load_tokenizer(place if place.is_dir() else place.parent, spec.separator)
