"""Running batches: threads for sync calls, tasks for async ones, results in the order of documents.

`Runner.stream` and `Runner.astream` differ by how a batch is awaited. What is planned and how rows
become documents is in `blocks`; what callers see is in `embedder`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event
from typing import Literal

from ctxembed.assembly import Outcome, check_rows, finish_block
from ctxembed.backends import STOPPED, Backend
from ctxembed.batches import Batch, Limits
from ctxembed.encoding import Array
from ctxembed.errors import OF_ONE_DOCUMENT, EmbedError
from ctxembed.forks import ForkLock
from ctxembed.planning import Block, Texts, company, plan_block
from ctxembed.recipe import Recipe

Taken = tuple[list[Texts | EmbedError], int]
"""Documents of a block, and the number of the first."""

Errors = Literal["raise", "return"]

_LOG = logging.getLogger("ctxembed")

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


class Runner:
    """Runs documents through one backend, and counts what that takes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = ForkLock()
        self._warned = False
        self.usage = Usage()

    def stream(
        self,
        documents: Iterator[Texts | EmbedError],
        recipe: Recipe,
        errors: Errors = "raise",
    ) -> Generator[Outcome]:
        """Yield an array or error a document, in order."""
        under_way: deque[tuple[Block, list[Future[list[Outcome]]]]] = deque()
        gathering = _Gathering(self._backend.limits)
        stopped = Event()
        pool = ThreadPoolExecutor(
            self._backend.limits.concurrency, "ctxembed-batch", STOPPED.set, (stopped,)
        )

        def finished() -> list[Outcome]:
            block, mine = under_way.popleft()
            results = []
            for future in mine:
                results.append(future.result())
                _raise_first(block, len(results) - 1, results[-1], errors)
            return _finish(block, results, recipe, errors)

        try:
            for taken in gathering.over(documents):
                block = self._plan(recipe, *taken)
                mine = [pool.submit(self._embed, batch, recipe) for batch in block.batches]
                under_way.append((block, mine))
                if len(under_way) > BLOCKS_AHEAD:
                    yield from finished()
            while under_way:
                yield from finished()
        finally:
            stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)

    async def astream(  # noqa: C901 - the three steps share what is under way
        self,
        documents: AsyncIterator[Texts | EmbedError],
        recipe: Recipe,
        errors: Errors = "raise",
    ) -> AsyncGenerator[Outcome]:
        """Like `stream`, without blocking the event loop."""
        under_way: deque[tuple[Block, list[asyncio.Task[list[Outcome]]]]] = deque()
        gathering = _Gathering(self._backend.limits)
        gate = asyncio.Semaphore(self._backend.limits.concurrency)
        tasks: set[asyncio.Task[list[Outcome]]] = set()

        async def started(taken: Taken) -> None:
            block = await asyncio.to_thread(self._plan, recipe, *taken)
            mine = [
                asyncio.create_task(self._aembed(batch, recipe, gate)) for batch in block.batches
            ]
            tasks.update(mine)
            under_way.append((block, mine))

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
                await started(taken)
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

    def _plan(self, recipe: Recipe, documents: list[Texts | EmbedError], first: int) -> Block:
        """Plan a block; say once if most of its chunks see no sibling, so that context does nothing."""
        block = plan_block(self._backend, recipe, documents, first)
        chunks, seen = company(block)
        if recipe.layout.context_weight and 2 * seen < chunks and not self._warned:
            self._warned = True
            _LOG.warning(
                "%d of %d chunks have no sibling in their window of %d tokens: context does nothing "
                "for them. Hint: chunks of a quarter of the window at most, or another window_tokens.",
                *(chunks - seen, chunks, recipe.layout.window_tokens),
            )
        return block

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
            used = self.usage
            self.usage = replace(used, tokens=used.tokens + tokens, requests=used.requests + 1)
        return checked


class _Gathering:
    """Cuts a stream of documents into blocks that fill a few batches each."""

    def __init__(self, limits: Limits) -> None:
        tokens = min(limits.batch_tokens, _LARGEST_BATCH) * _BATCHES_A_BLOCK * limits.concurrency
        self._characters = tokens * _CHARACTERS_A_TOKEN
        self._first = self._size = 0
        self._held: list[Texts | EmbedError] = []

    def over(self, documents: Iterable[Texts | EmbedError]) -> Iterator[Taken]:
        for document in documents:
            if self._full(document):
                yield self._take()
        if self._held:
            yield self._take()

    async def aover(self, documents: AsyncIterable[Texts | EmbedError]) -> AsyncIterator[Taken]:
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

    def _take(self) -> Taken:
        taken = self._held, self._first
        self._first += len(self._held)
        self._held, self._size = [], 0
        return taken


def _halves(batch: Batch, error: EmbedError) -> list[Batch]:
    """Return two halves of a batch that failed for one of its documents, else nothing."""
    middle = len(batch.windows) // 2
    if not middle or not isinstance(error, OF_ONE_DOCUMENT):
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
    return [array_of(outcome) for outcome in outcomes] if errors == "raise" else outcomes


def array_of(outcome: Outcome) -> Array:
    """Return the array, or raise the error in its place."""
    if isinstance(outcome, EmbedError):
        raise outcome
    return outcome
