"""`Embedder`: documents in, one array a document out; sync, async and streaming.

The three differ by how batches are awaited. What is planned and how rows become documents is in
`blocks`, in plain functions that all of them use. Nothing here knows a model or a framework.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from threading import Lock
from typing import Any, Literal, Self, TypeVar

import numpy as np

from ctxembed.backends import Backend, open_backend
from ctxembed.blocks import (
    Block,
    Outcome,
    Recipe,
    Texts,
    check_rows,
    document_recipe,
    finish_block,
    plan_block,
    query_recipe,
)
from ctxembed.documents import check_document
from ctxembed.encoding import Array
from ctxembed.errors import EmbedError, InputError, MissingDependencyError, NonFiniteError
from ctxembed.planning import Batch, Limits
from ctxembed.settings import Settings

T = TypeVar("T")

BLOCKS_AHEAD = 2
"""Blocks planned or under way behind the one whose results are given out."""

_BATCHES_A_BLOCK = 8
_LARGEST_BATCH = 32_768
_CHARACTERS_A_TOKEN = 4
_CHARACTERS_A_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Usage:
    """What an embedder has used so far.

    `tokens` counts what the model read: separators, overlaps and second passes included. `cost` is in
    USD, None where nothing is charged.
    """

    tokens: int = 0
    requests: int = 0
    cost: float | None = None


class Embedder:
    """Embeds documents given as lists of chunks, every chunk with its siblings in view.

    May be called from many threads and tasks at once. A context manager, sync and async; leaving it
    closes the backend.
    """

    def __init__(self, backend: Backend, settings: Settings | None = None, /) -> None:
        """Take a backend, and the settings for what is done before and after it."""
        self.settings = settings or Settings()
        self._backend = backend
        self._documents = document_recipe(self.settings, backend)
        self._queries = query_recipe(self.settings, backend)
        prefix = self.settings.query_prefix
        self._query_prefix = backend.spec.query_prefix if prefix is None else prefix
        self._fingerprint = replace(self.settings, model=backend.spec.name).fingerprint()
        self._usage = Usage()
        self._lock = Lock()

    @classmethod
    def open(
        cls, settings: Settings | None = None, /, *, api_key: str | None = None, **overrides: Any
    ) -> Self:
        """Return an embedder for settings, or for their names as keywords.

        >>> embedder = Embedder.open(model="minilm", encoding="float")  # doctest: +SKIP

        Embedders of one process that ask for the same local weights share them. `api_key` is for
        `backend="api"`, where it goes before the environment's; it is kept out of the settings.

        Raises:
            ConfigurationError: the settings name something unknown, or what doesn't go together.
            ModelLoadError: weights or tokenizer are absent or unusable.
        """
        if settings is None:
            settings = Settings.from_dict(overrides)
        elif overrides:
            settings = Settings.from_dict(settings.to_dict() | overrides)
        fingerprint = settings.fingerprint()
        backend = open_backend(settings, api_key)
        try:
            embedder = cls(backend, settings)
        except BaseException:
            backend.close()
            raise
        embedder._fingerprint = fingerprint  # noqa: SLF001 - of the files, not of a name
        return embedder

    @property
    def backend(self) -> Backend:
        """The backend that does the work."""
        return self._backend

    @property
    def dimensions(self) -> int:
        """The dimensions of a vector (bits, for ubinary)."""
        return self._documents.dimensions

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a vector: see `Settings.fingerprint`.

        A backend that was handed over counts by its spec's name in place of `settings.model`.
        """
        return self._fingerprint

    @property
    def usage(self) -> Usage:
        """Tokens, requests and cost so far; over the API by the server's own figures."""
        used = getattr(self._backend, "used", None)
        if used is None:
            return self._usage
        return replace(self._usage, tokens=used[0], cost=used[1])

    def embed_documents(
        self, documents: Sequence[Sequence[str]], *, progress: bool = False
    ) -> list[Array]:
        """Return one (chunks, dimensions) array a document, in the order of the documents.

        All documents are checked before the model sees the first one. `progress` draws a bar.

        Raises:
            InputError: names the document, and the chunk where it is one.
            BackendError: the model gave no vectors for a document that it names.
        """
        checked = [self._check(document, n) for n, document in enumerate(_outer(documents))]
        results: Iterator[Outcome] = self._stream(iter(checked), self._documents)
        if progress:
            results = _bar(results, len(checked))
        return [_array(outcome) for outcome in results]

    def embed_query(self, text: str) -> Array:
        """Return the vector of a query, shape (dimensions,)."""
        row: Array = self.embed_queries([text])[0]
        return row

    def embed_queries(self, texts: Sequence[str]) -> Array:
        """Return one row a query, shape (queries, dimensions); each is embedded alone."""
        try:
            checked = self._check_queries(texts)
            found = [_array(row) for row in self._stream(iter(checked), self._queries)]
        except EmbedError as error:
            error.noun = "Query"
            raise
        return self._stack(found)

    def stream(
        self,
        documents: Iterable[Sequence[str]],
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> Iterator[Outcome]:
        """Yield one array a document, in order, holding a bounded number of documents.

        With `errors="return"` a document that can't be embedded comes back as its error, in its place.
        """
        checked = (self._outcome(document, n, errors) for n, document in enumerate(documents))
        return self._stream(checked, self._documents, errors)

    async def aembed_documents(
        self, documents: Sequence[Sequence[str]], *, progress: bool = False
    ) -> list[Array]:
        """Like `embed_documents`, without blocking the event loop."""
        checked = [self._check(document, n) for n, document in enumerate(_outer(documents))]
        results = self._astream(_aiter(checked), self._documents)
        if not progress:
            return [_array(outcome) async for outcome in results]
        with _bar(None, len(checked)) as bar:
            found = []
            async for outcome in results:
                found.append(_array(outcome))
                bar.update()
            return found

    async def aembed_query(self, text: str) -> Array:
        """Like `embed_query`, without blocking the event loop."""
        row: Array = (await self.aembed_queries([text]))[0]
        return row

    async def aembed_queries(self, texts: Sequence[str]) -> Array:
        """Like `embed_queries`, without blocking the event loop."""
        try:
            checked = self._check_queries(texts)
            results = self._astream(_aiter(checked), self._queries)
            found = [_array(row) async for row in results]
        except EmbedError as error:
            error.noun = "Query"
            raise
        return self._stack(found)

    def astream(
        self,
        documents: Iterable[Sequence[str]] | AsyncIterable[Sequence[str]],
        *,
        errors: Literal["raise", "return"] = "raise",
    ) -> AsyncIterator[Outcome]:
        """Like `stream`, without blocking the event loop; takes either kind of iterable."""

        async def checked() -> AsyncIterator[Texts | EmbedError]:
            number = 0
            async for document in _aiter(documents):
                yield self._outcome(document, number, errors)
                number += 1

        return self._astream(checked(), self._documents, errors)

    def close(self) -> None:
        """Let go of the backend; a second call does nothing."""
        self._backend.close()

    async def aclose(self) -> None:
        """Like `close`, without blocking the event loop."""
        await asyncio.to_thread(self._backend.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _check(self, document: object, number: int) -> Texts:
        return check_document(document, number, self.settings.empty)

    def _outcome(self, document: object, number: int, errors: str) -> Texts | EmbedError:
        try:
            return self._check(document, number)
        except InputError as error:
            if errors == "raise":
                raise
            return error

    def _check_queries(self, texts: Sequence[str]) -> list[Texts]:
        if isinstance(texts, str):
            raise InputError("got one string. Hint: embed_query(text), or a list of queries.")
        checked = [self._check([text], number) for number, text in enumerate(texts)]
        return [(self._query_prefix + text if text.strip() else text,) for (text,) in checked]

    def _stack(self, found: list[Array]) -> Array:
        if found:
            return np.concatenate(found)
        none = finish_block(Block(0, [()], [[]], [], [], []), [], self._queries)
        return _array(none[0])

    def _stream(
        self,
        documents: Iterator[Texts | EmbedError],
        recipe: Recipe,
        errors: Literal["raise", "return"] = "raise",
    ) -> Iterator[Outcome]:
        under_way: deque[tuple[Block, list[Future[list[Outcome]]]]] = deque()
        gathering = _Gathering(self._backend.limits)
        pool = ThreadPoolExecutor(self._backend.limits.concurrency, "ctxembed-batch")

        def finished() -> list[Outcome]:
            block, mine = under_way.popleft()
            results = []
            for future in mine:
                results.append(future.result())
                _raise_first(block, len(results) - 1, results[-1], errors)
            return _finish(block, results, recipe, errors)

        try:
            for taken in gathering.over(documents):
                block = plan_block(self._backend, recipe, *taken)
                mine = [pool.submit(self._embed, batch, recipe) for batch in block.batches]
                under_way.append((block, mine))
                if len(under_way) > BLOCKS_AHEAD:
                    yield from finished()
            while under_way:
                yield from finished()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    async def _astream(
        self,
        documents: AsyncIterator[Texts | EmbedError],
        recipe: Recipe,
        errors: Literal["raise", "return"] = "raise",
    ) -> AsyncIterator[Outcome]:
        under_way: deque[tuple[Block, list[asyncio.Task[list[Outcome]]]]] = deque()
        gathering = _Gathering(self._backend.limits)
        gate = asyncio.Semaphore(self._backend.limits.concurrency)
        tasks: set[asyncio.Task[list[Outcome]]] = set()

        async def finished() -> list[Outcome]:
            block, mine = under_way.popleft()
            results = []
            for task in mine:
                results.append(await task)
                tasks.discard(task)
                _raise_first(block, len(results) - 1, results[-1], errors)
            return await asyncio.to_thread(_finish, block, results, recipe, errors)

        try:
            async for taken in gathering.aover(documents):
                block = await asyncio.to_thread(plan_block, self._backend, recipe, *taken)
                mine = [
                    asyncio.create_task(self._aembed(batch, recipe, gate))
                    for batch in block.batches
                ]
                tasks.update(mine)
                under_way.append((block, mine))
                if len(under_way) > BLOCKS_AHEAD:
                    for outcome in await finished():
                        yield outcome
            while under_way:
                for outcome in await finished():
                    yield outcome
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _embed(self, batch: Batch, recipe: Recipe) -> list[Outcome]:
        """Return an array or error a window; one bad document spoils no other."""
        try:
            return [*self._taken(batch, self._backend.embed(batch), recipe)]
        except EmbedError as error:
            parts = _halves(batch, error)
            if not parts:
                return [error] * len(batch.windows)
        return [row for part in parts for row in self._embed(part, recipe)]

    async def _aembed(
        self, batch: Batch, recipe: Recipe, gate: asyncio.Semaphore
    ) -> list[Outcome]:
        try:
            async with gate:
                rows = await self._backend.aembed(batch)
            return [*self._taken(batch, rows, recipe)]
        except EmbedError as error:
            parts = _halves(batch, error)
            if not parts:
                return [error] * len(batch.windows)
        return [row for part in parts for row in await self._aembed(part, recipe, gate)]

    def _taken(self, batch: Batch, rows: Sequence[Array], recipe: Recipe) -> list[Array]:
        checked = check_rows(batch, rows, recipe)
        before = batch.prefix.count if batch.prefix else 0
        tokens = sum(window.tokens + before for window in batch.windows)
        with self._lock:
            used = self._usage
            self._usage = replace(used, tokens=used.tokens + tokens, requests=used.requests + 1)
        return checked


class _Gathering:
    """Cuts a stream of documents into blocks that fill a few batches each."""

    def __init__(self, limits: Limits) -> None:
        tokens = min(limits.batch_tokens, _LARGEST_BATCH) * _BATCHES_A_BLOCK * limits.concurrency
        self._characters = tokens * _CHARACTERS_A_TOKEN
        self._first = self._size = 0
        self._held: list[Texts | EmbedError] = []

    def over(
        self, documents: Iterable[Texts | EmbedError]
    ) -> Iterator[tuple[list[Texts | EmbedError], int]]:
        for document in documents:
            if self._full(document):
                yield self._take()
        if self._held:
            yield self._take()

    async def aover(
        self, documents: AsyncIterable[Texts | EmbedError]
    ) -> AsyncIterator[tuple[list[Texts | EmbedError], int]]:
        async for document in documents:
            if self._full(document):
                yield self._take()
        if self._held:
            yield self._take()

    def _full(self, document: Texts | EmbedError) -> bool:
        chunks = () if isinstance(document, EmbedError) else document
        self._held.append(document)
        self._size += _CHARACTERS_A_CHUNK + sum(
            len(chunk) + _CHARACTERS_A_CHUNK for chunk in chunks
        )
        return self._size >= self._characters

    def _take(self) -> tuple[list[Texts | EmbedError], int]:
        taken = self._held, self._first
        self._first += len(self._held)
        self._held, self._size = [], 0
        return taken


def _halves(batch: Batch, error: EmbedError) -> list[Batch]:
    """Return two halves of a batch that failed for one of its documents, else nothing."""
    middle = len(batch.windows) // 2
    if not middle or not isinstance(error, InputError | NonFiniteError):
        return []
    windows = batch.windows
    return [replace(batch, windows=part) for part in (windows[:middle], windows[middle:])]


def _raise_first(block: Block, batch: int, results: Sequence[Outcome], errors: str) -> None:
    """Raise the first error of a batch with the number of its document, where errors are raised."""
    if errors == "return":
        return
    for number, outcome in zip(block.members[batch], results, strict=True):
        if isinstance(outcome, EmbedError):
            outcome.document = block.first + block.windows[number].document
            last = block.first + max(
                block.windows[other].document
                for other, same in zip(block.members[batch], results, strict=True)
                if same is outcome
            )
            outcome.last_document = None if last == outcome.document else last
            raise outcome


def _finish(
    block: Block, results: Sequence[Sequence[Outcome]], recipe: Recipe, errors: str
) -> list[Outcome]:
    by_window: dict[int, Outcome] = {}
    for members, rows in zip(block.members, results, strict=True):
        by_window |= zip(members, rows, strict=True)
    outcomes = finish_block(block, [by_window[n] for n in range(len(block.windows))], recipe)
    return [_array(outcome) for outcome in outcomes] if errors == "raise" else outcomes


def _array(outcome: Outcome) -> Array:
    if isinstance(outcome, EmbedError):
        raise outcome
    return outcome


def _outer(documents: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
    if isinstance(documents, str | bytes):
        message = "expected a list of documents, got one string. Hint: [[chunk, chunk], ...]."
        raise InputError(message)
    return documents


async def _aiter(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _bar(iterable: Iterator[Outcome] | None, total: int) -> Any:
    try:
        tqdm = import_module("tqdm.auto").tqdm
    except ModuleNotFoundError as error:
        message = "progress=True needs tqdm. Run: python -m pip install tqdm"
        raise MissingDependencyError(message) from error
    return tqdm(iterable, total=total, unit="document")
