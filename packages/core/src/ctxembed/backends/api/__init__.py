"""The remote API as a backend: texts out, checked rows in.

One event loop in a thread of its own does all the talking, so that threads and any number of event
loops share one pool of connections and one pace. What goes over the wire is in `payloads`, what answers
mean in `error_responses`, when to repeat in `client`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ctxembed.backends import STOPPED
from ctxembed.backends.api import payloads
from ctxembed.backends.api.client import Client, Endpoint
from ctxembed.backends.api.event_loop import LoopThread
from ctxembed.backends.api.token_estimate import OVERESTIMATE, estimate_tokens
from ctxembed.batches import Batch, Limits
from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import Array, Form
from ctxembed.errors import (
    ApiTimeoutError,
    BackendError,
    ConfigurationError,
    DocumentTooLongError,
    MissingDependencyError,
)
from ctxembed.forks import fork_lock
from ctxembed.models import MODELS, ModelSpec, find_model
from ctxembed.settings import Settings
from ctxembed.wire import (
    CONTEXTUAL_PATH,
    DEFAULT_URL,
    INDEPENDENT_PATH,
    KEY_VARIABLES,
    MAX_CHUNKS,
    MAX_DOCUMENTS,
    MAX_REQUEST_TOKENS,
    MIN_DIMENSIONS,
    URL_VARIABLE,
)

if TYPE_CHECKING:
    from ctxembed.backends.tokenizer import ChunkTokenizer

_LIMITS = Limits(documents=MAX_DOCUMENTS, chunks=MAX_CHUNKS, batch_tokens=MAX_REQUEST_TOKENS)
_CONCURRENCY = 16
_TIMEOUT = 60.0
_RETRIES = 8
_GLANCE = 0.1
_CLOSED = "the embedder was closed, or the call stopped, while this request was under way."
_LOG = logging.getLogger(__name__)
_LEARNING = 0.8
"""Share of the tokens of a request that was too long which the next ones may have."""


def load(settings: Settings, api_key: str | None = None) -> ApiBackend:
    """Return a backend that talks to the API; nothing is sent yet.

    Raises:
        ConfigurationError: no key, a model that the API doesn't have, dimensions out of range.
    """
    spec = _spec(settings)
    endpoint = Endpoint(
        base_url=_base_url(settings.base_url),
        api_key=_key(api_key),
        timeout=settings.timeout or _TIMEOUT,
        max_retries=_RETRIES if settings.max_retries is None else settings.max_retries,
        concurrency=settings.concurrency or _CONCURRENCY,
    )
    return ApiBackend(spec, endpoint, settings)


class ApiBackend:
    """Embeds over HTTP; many threads and event loops may use it at once."""

    forms: frozenset[Form] = frozenset({"int8", "binary"})

    def __init__(self, spec: ModelSpec, endpoint: Endpoint, settings: Settings) -> None:
        self.spec = spec
        self._sent_dimensions = settings.dimensions
        self._model = spec.name.rpartition("/")[2]
        self._path = CONTEXTUAL_PATH if spec.contextual else INDEPENDENT_PATH
        self._endpoint = endpoint
        self._tokenizer = _tokenizer(settings, spec)
        self._loop = LoopThread("ctxembed-api", partial(Client, endpoint))
        self._lock = fork_lock()
        self._batch_tokens = min(
            settings.batch_tokens or _LIMITS.batch_tokens, _LIMITS.batch_tokens
        )
        self._tokens = 0
        self._cost: float | None = None

    @property
    def limits(self) -> Limits:
        """What a request may carry: the API's limits, less what refusals have taught."""
        return replace(
            _LIMITS,
            document_tokens=self.spec.max_tokens,
            batch_tokens=self._batch_tokens,
            concurrency=self._endpoint.concurrency,
        )

    @property
    def used(self) -> tuple[int, float | None]:
        """Tokens and USD so far: the server's own figures, the price table's where it gave none."""
        return self._tokens, self._cost

    def tokenize(self, chunks: Sequence[str]) -> list[TokenizedChunk]:
        """Return each chunk with its tokens: counted where a tokenizer is at hand, else estimated."""
        if len(chunks) > 1:
            self._loop.start()  # certificates are read while texts are counted
        if self._tokenizer is not None:
            return self._tokenizer.tokenize(chunks)
        counts = [self._at_most(count) for count in estimate_tokens(chunks)]
        return [TokenizedChunk(text, count) for text, count in zip(chunks, counts, strict=True)]

    def embed(self, batch: Batch) -> list[Array]:
        """Return the rows of a batch, sent as one request; cancelled when the call is stopped."""
        future = self._loop.submit(partial(self._request, batch))
        stopped = STOPPED.get()
        while True:
            try:
                return future.result(_GLANCE)
            except TimeoutError:
                if future.done() or not (stopped and stopped.is_set()):
                    continue
                future.cancel()
                raise BackendError(_CLOSED) from None
            except CancelledError:
                raise BackendError(_CLOSED) from None

    async def aembed(self, batch: Batch) -> list[Array]:
        """Like `embed`, without blocking the event loop."""
        future = self._loop.submit(partial(self._request, batch))
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

    def _at_most(self, estimate: int) -> int:
        """Return the estimate, or the limit where it is beyond and the text may still fit."""
        limit = self.spec.max_tokens
        return limit if limit < estimate <= limit * OVERESTIMATE else estimate

    def __repr__(self) -> str:
        return f"ApiBackend({self._model!r}, {self._endpoint!r})"

    async def _request(self, batch: Batch, client: Client) -> list[Array]:
        documents = [[chunk.text for chunk in window.chunks] for window in batch.windows]
        if batch.prefix is not None:
            documents = [[batch.prefix.text + first, *rest] for first, *rest in documents]
        body = payloads.request_body(
            documents,
            model=self._model,
            contextual=self.spec.contextual,
            form=batch.form,
            dimensions=self._sent_dimensions,
        )
        chunks = [len(window.chunks) for window in batch.windows]
        width = self.spec.dimensions
        most = payloads.most_bytes(sum(chunks), form=batch.form, dimensions=width)
        divisible = len(chunks) > 1 and self._endpoint.max_retries > 0
        try:
            content = await client.post(self._path, body, most, divisible=divisible)
        except DocumentTooLongError as error:
            raise self._too_long(batch, error) from error.__cause__
        except ApiTimeoutError:
            if not divisible:
                raise
            content = None
        if content is None:
            return await self._in_halves(batch, client)
        reply = payloads.parse_reply(
            content,
            chunks,
            contextual=self.spec.contextual,
            form=batch.form,
            dimensions=width,
        )
        self._count(batch, reply)
        return reply.rows

    async def _in_halves(self, batch: Batch, client: Client) -> list[Array]:
        """Return the rows of a batch that took too long: a server that is slow has half to do a time."""
        middle = len(batch.windows) // 2
        _LOG.warning("%d windows took too long, again in two parts", len(batch.windows))
        rows: list[Array] = []
        for windows in (batch.windows[:middle], batch.windows[middle:]):
            rows += await self._request(replace(batch, windows=windows), client)
        return rows

    def _too_long(self, batch: Batch, error: DocumentTooLongError) -> DocumentTooLongError:
        """Return the error with chunk and remedy, where the request held one window.

        Where it held several, remember that less fits into a request than was thought.
        """
        tokens = _tokens(batch)
        window = batch.windows[0]
        if len(batch.windows) > 1 and tokens > self.spec.max_tokens:
            with self._lock:
                learned = max(int(tokens * _LEARNING), self.spec.max_tokens)
                self._batch_tokens = min(self._batch_tokens, learned)
        chunk = 0 if len(window.chunks) == 1 else error.chunk
        remedy = "set a smaller window_tokens" if chunk is None else "split the chunk"
        return DocumentTooLongError(
            f"{error.message} Hint: {remedy}.",
            tokens=error.tokens,
            limit=error.limit,
            chunk=None if chunk is None else window.first + chunk,
        )

    def _count(self, batch: Batch, reply: payloads.Reply) -> None:
        tokens = reply.tokens
        if tokens is None:
            tokens = _tokens(batch)
        cost = reply.cost
        if cost is None and self.spec.price is not None:
            cost = tokens * self.spec.price / 1e6
        with self._lock:
            self._tokens += tokens
            self._cost = self._cost if cost is None else (self._cost or 0.0) + cost


def _tokens(batch: Batch) -> int:
    before = batch.prefix.count if batch.prefix else 0
    return sum(window.tokens + before for window in batch.windows)


def _spec(settings: Settings) -> ModelSpec:
    spec = find_model(settings.model)
    if spec is None or spec.price is None:
        known = ", ".join(model.name for model in MODELS if model.price is not None)
        raise ConfigurationError(f"the API has no model {settings.model!r}. It has {known}.")
    dimensions = settings.dimensions
    if dimensions is None:
        return spec
    if not MIN_DIMENSIONS <= dimensions <= spec.dimensions:
        raise ConfigurationError(
            f"over the API {spec.name} has {MIN_DIMENSIONS} to {spec.dimensions} dimensions, "
            f"and dimensions is {dimensions}."
        )
    return replace(spec, dimensions=dimensions)


def _key(given: str | None) -> str:
    found = given or next(
        (os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), None
    )
    if not found or not found.strip():
        raise ConfigurationError(
            f"the API needs a key. Hint: set {KEY_VARIABLES[0]}, or pass api_key."
        )
    if not re.fullmatch(r"[!-~]+", found.strip()):
        raise ConfigurationError("the API key has characters that no key has.")
    return found.strip()


def _base_url(given: str | None) -> str:
    url = (given or os.environ.get(URL_VARIABLE) or DEFAULT_URL).strip().rstrip("/")
    url = url.removesuffix("/v1").rstrip("/")
    if "@" in url:
        raise ConfigurationError(
            f"the base URL holds no name or password. Hint: mend {URL_VARIABLE}, or base_url."
        )
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"base_url starts with http:// or https://, got {url!r}.")
    return url


def _tokenizer(settings: Settings, spec: ModelSpec) -> ChunkTokenizer | None:
    if settings.tokenizer is None:
        return None
    try:
        from ctxembed.backends.tokenizer import load_tokenizer
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'an exact count needs tokenizers. Run: python -m pip install "ctxembed[tokenizers]"'
        ) from error
    path = Path(settings.tokenizer).expanduser()
    return load_tokenizer(path if path.is_dir() else path.parent, spec.separator)
