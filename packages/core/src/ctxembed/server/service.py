"""`Service`: a request in, the bytes of its response out, with the checks that need the model.

Tokenising, planning and encoding happen in threads, so that the event loop stays free; the model is
behind `dispatcher`. Texts on the embeddings route are embedded each alone, without a prefix. On the
contextual route everything is a document: the wire does not tell which of them are queries, and no
model that is served today has a prefix for either.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus

from starlette.exceptions import HTTPException

from ctxembed.assembly import assemble_all
from ctxembed.backends import Backend
from ctxembed.documents import Document, check_document
from ctxembed.embedder import Embedder
from ctxembed.encoding import Array
from ctxembed.errors import EmbedError
from ctxembed.execution import array_of
from ctxembed.planning import PlannedDocument, count_cached, plan_documents
from ctxembed.recipe import Recipe, document_recipe, query_recipe
from ctxembed.server.dispatcher import Dispatcher
from ctxembed.server.model_names import check_model, model_names, routes_by_name
from ctxembed.server.reply_memory import ReplyMemory, weight_of
from ctxembed.server.response_body import response_body
from ctxembed.server.schemas import ContextualizedRequest, EmbeddingsRequest, Model
from ctxembed.telemetry import describe_request
from ctxembed.wire import (
    CONTEXTUAL_PATH,
    ENCODINGS,
    INDEPENDENT_PATH,
    MAX_CHUNKS,
    MAX_DOCUMENT_TOKENS,
    MAX_REQUEST_TOKENS,
    MIN_DIMENSIONS,
    WireFormat,
)

_PLANNERS = 2
_RECIPES = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of a response, and the tokens of its request."""

    body: bytes
    tokens: int


class Service:
    """Answers requests from one loaded model, many at a time."""

    def __init__(
        self,
        embedder: Embedder,
        dispatcher: Dispatcher,
        aliases: Sequence[str] = (),
        *,
        cached: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take a model; `cached` is called with how many documents the model need not read."""
        self._embedder = embedder
        self._backend = embedder.backend
        self._dispatcher = dispatcher
        self._cached = cached
        self._planners = ThreadPoolExecutor(_PLANNERS, "ctxembed-plan")
        self._layout = document_recipe(embedder.settings, self._backend).layout
        self._names = model_names(self._backend.spec, self._layout.context_weight, aliases)
        self._replies = ReplyMemory()
        self._recipe = lru_cache(_RECIPES)(self._make_recipe)

    @property
    def served_model(self) -> str:
        """The real name of the model, whichever name a request uses."""
        return self._backend.spec.name

    @property
    def fingerprint(self) -> str:
        """The fingerprint of an embedder with the server's settings: int8 at full width."""
        return self._embedder.fingerprint

    def models(self) -> list[Model]:
        """Return a record for every name that is answered."""
        spec, layout = self._backend.spec, self._layout
        return [
            Model(
                id=name,
                object="model",
                owned_by="ctxembed",
                endpoints=routes,
                served_model=spec.name,
                fingerprint=self.fingerprint,
                dimensions=spec.dimensions,
                max_tokens=MAX_DOCUMENT_TOKENS,
                window_tokens=layout.window_tokens,
                max_chunk_tokens=min(layout.max_tokens, MAX_DOCUMENT_TOKENS),
                usual_chunk_tokens=layout.usual_chunk_tokens,
                context_weight=layout.context_weight,
                neighbour_weight=layout.neighbour_weight,
                contextual=spec.contextual,
            )
            for name, routes in routes_by_name(self._names).items()
        ]

    def hold(self, request: EmbeddingsRequest | ContextualizedRequest) -> Callable[[], None]:
        """Count what the reply to a request will weigh, and return what lets go of it.

        Raises an `HTTPException` where it weighs too much, or the request has too many chunks.
        """
        nested = isinstance(request, ContextualizedRequest)
        rows = sum(map(len, _inputs(request))) if nested else len(_inputs(request))
        if rows > MAX_CHUNKS:
            _refuse(f"a request has {MAX_CHUNKS:,} chunks at the most.")
        weight = weight_of(rows, self._recipe_of(request), request.encoding_format)
        return self._replies.hold(weight)

    async def answer(self, request: EmbeddingsRequest | ContextualizedRequest) -> Answer:
        """Return the answer to a request, or raise an `HTTPException` or an `EmbedError`.

        Cancelling it takes what the model has not begun out of the queue.
        """
        nested = isinstance(request, ContextualizedRequest)
        recipe = self._recipe_of(request)
        try:
            documents, tokens = await asyncio.get_running_loop().run_in_executor(
                self._planners, _plan, self._backend, recipe, request
            )
        except EmbedError as error:
            raise error.at(noun="Document" if nested else "Text") from error.__cause__
        cached = count_cached(documents)
        self._cached(cached)
        describe_request(self.served_model, recipe.dimensions, len(documents), cached)
        windows = [window for document in documents for window in document.windows]
        rows: list[Array] = []
        if windows:
            rows = await asyncio.wrap_future(self._dispatcher.submit(windows, recipe))

        def finish() -> bytes:
            return response_body(
                [array_of(outcome) for outcome in assemble_all(documents, rows, recipe)],
                model=request.model,
                wire_format=request.encoding_format,
                tokens=tokens,
                nested=nested,
            )

        return Answer(await asyncio.to_thread(finish), tokens)

    def close(self, timeout: float | None = None) -> None:
        """Give up what waits, and let go of the model."""
        self._dispatcher.close(timeout)
        self._planners.shutdown(wait=False, cancel_futures=True)
        self._embedder.close()

    def _recipe_of(self, request: EmbeddingsRequest | ContextualizedRequest) -> Recipe:
        route = CONTEXTUAL_PATH if isinstance(request, ContextualizedRequest) else INDEPENDENT_PATH
        check_model(self._names, request.model, route)
        return self._recipe(route, request.encoding_format, request.dimensions)

    def _make_recipe(self, route: str, wire_format: WireFormat, dimensions: int | None) -> Recipe:
        width = self._backend.spec.dimensions
        least = min(MIN_DIMENSIONS, width)
        if dimensions is not None and not least <= dimensions <= width:
            _refuse(f"dimensions must be from {least} to {width} for this model.")
        settings = replace(
            self._embedder.settings,
            encoding=ENCODINGS[wire_format],
            dimensions=dimensions,
            normalize=False,
            empty="error",
        )
        if route == CONTEXTUAL_PATH:
            return document_recipe(settings, self._backend, self._embedder.cache)
        return query_recipe(settings, self._backend)


def _plan(
    backend: Backend, recipe: Recipe, request: EmbeddingsRequest | ContextualizedRequest
) -> tuple[list[PlannedDocument], int]:
    """Return the planned documents of a request and their tokens, or raise what is wrong."""
    documents = _documents(request)
    planned = plan_documents(backend, recipe, documents)
    for document in planned:
        if document.error is not None:
            raise document.error
    for document in planned:
        if document.tokens > MAX_DOCUMENT_TOKENS:
            _refuse(
                f"Document {document.number} has {document.tokens:,} tokens, separators between "
                f"its chunks included; the maximum is {MAX_DOCUMENT_TOKENS:,}."
            )
    tokens = sum(document.tokens for document in planned)
    if tokens > MAX_REQUEST_TOKENS:
        _refuse(f"the request has {tokens:,} tokens; the maximum is {MAX_REQUEST_TOKENS:,}.")
    return planned, tokens


def _documents(request: EmbeddingsRequest | ContextualizedRequest) -> list[Document]:
    return [
        check_document([each] if isinstance(each, str) else each, number)
        for number, each in enumerate(_inputs(request))
    ]


def _inputs(request: EmbeddingsRequest | ContextualizedRequest) -> Sequence[list[str] | str]:
    return [request.input] if isinstance(request.input, str) else request.input


def _refuse(message: str) -> None:
    raise HTTPException(HTTPStatus.BAD_REQUEST, message)
