"""Running documents through a backend: threads for sync calls, tasks for async ones.

Results come in the order of the documents, whatever the order in which their batches end. A slow
batch holds up no other: documents behind it are read, embedded and kept until about `HELD_BYTES` of
them wait. `planning` has what is planned, `batch_queue` which batch is next, `assembly` the rest.
"""

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from queue import SimpleQueue
from threading import Event
from typing import Any, TypeVar

from ctxembed.assembly import Assembly, Errors, Outcome, check_rows
from ctxembed.backends import STOPPED, Backend
from ctxembed.backends.identity import ModelIdentity
from ctxembed.batch_queue import BatchQueue
from ctxembed.batches import Batch, Limits
from ctxembed.document_blocks import (
    BATCHES_PER_BLOCK,
    Block,
    aread_block,
    block_size,
    read_block,
)
from ctxembed.documents import Document
from ctxembed.encoding import Array
from ctxembed.errors import OF_ONE_DOCUMENT, EmbedError
from ctxembed.forks import fork_lock
from ctxembed.planning import (
    Place,
    PlannedBatch,
    count_cached,
    count_siblings,
    plan_batches,
    plan_documents,
)
from ctxembed.progress import Watch, unwatched
from ctxembed.recipe import Recipe
from ctxembed.tasks import SECONDS_FOR_THE_REST, Gate, cancelled, finished
from ctxembed.telemetry import EmbeddingCall, embedding_call
from ctxembed.usage import Usage

T = TypeVar("T")

_LOG = logging.getLogger("ctxembed")

HELD_BYTES = 64 * 2**20
"""About how much text, tokens and vectors of documents may wait for a slower one before them."""


class Runner:
    """Runs documents through one backend, and counts what that takes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = fork_lock()
        self._warned = False
        self.usage = Usage()

    def stream(
        self,
        documents: Iterable[Document | EmbedError],
        recipe: Recipe,
        errors: Errors = "raise",
        watch: Watch = unwatched,
    ) -> Generator[Outcome]:
        """Yield one array or error per document, in order; with "raise" the first error ends it."""
        limits, assembly, source = self._backend.limits, Assembly(recipe, errors), iter(documents)
        queue: BatchQueue[Future[list[Outcome]]] = _queue(limits, Future.cancel)
        done: SimpleQueue[Future[list[Outcome]]] = SimpleQueue()
        more = True

        with (
            self._call(recipe, assembly) as call,
            _threads(limits.concurrency, queue, assembly, recipe) as pool,
        ):

            def started(batch: Batch) -> Future[list[Outcome]]:
                future = pool.submit(self._embed, batch, recipe, call)
                future.add_done_callback(done.put)
                return future

            while more or queue:
                if more and _wants_more(queue, assembly):
                    block = read_block(source, block_size(limits))
                    more = bool(block)
                    queue.add(self._plan(block, assembly, recipe, call))
                elif places := queue.end(ended := done.get()):
                    assembly.put(places, ended.result())
                if assembly.failed is not None:
                    queue.cancel_behind(assembly.failed)
                queue.start(started)
                watch(assembly.progress)
                yield from assembly.ready()

    async def astream(
        self,
        documents: AsyncIterable[Document | EmbedError],
        recipe: Recipe,
        errors: Errors = "raise",
        watch: Watch = unwatched,
    ) -> AsyncGenerator[Outcome]:
        """Like `stream`, without blocking the event loop."""
        limits, assembly, source = self._backend.limits, Assembly(recipe, errors), aiter(documents)
        gate, more = Gate(limits.concurrency), True
        queue: BatchQueue[asyncio.Task[list[Outcome]]] = _queue(limits, gate.cancel)
        done: asyncio.Queue[asyncio.Task[list[Outcome]]] = asyncio.Queue()

        with self._call(recipe, assembly) as call:
            async with _tasks(gate, queue, assembly, recipe) as tasks:

                def started(batch: Batch) -> asyncio.Task[list[Outcome]]:
                    task = asyncio.create_task(self._aembed(batch, recipe, gate, call))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    task.add_done_callback(done.put_nowait)
                    return task

                while more or queue:
                    if more and _wants_more(queue, assembly):
                        block = await aread_block(source, block_size(limits))
                        more = bool(block)
                        queue.add(
                            await asyncio.to_thread(self._plan, block, assembly, recipe, call)
                        )
                    elif places := queue.end(ended := await done.get()):
                        await finished(assembly.put, places, ended.result())
                    if assembly.failed is not None:
                        queue.cancel_behind(assembly.failed)
                    queue.start(started)
                    watch(assembly.progress)
                    for outcome in assembly.ready():
                        yield outcome

    @contextmanager
    def _call(self, recipe: Recipe, assembly: Assembly) -> Iterator[EmbeddingCall]:
        """Give a call, whose span begins and ends with the block."""
        identity = getattr(self._backend, "identity", None)
        address = None
        if isinstance(identity, ModelIdentity) and identity.kind == "api":
            address = identity.variant
        name = self._backend.spec.name
        with embedding_call(name, recipe.dimensions, recipe.inputs, address) as call:
            try:
                yield call
            finally:
                call.failed = assembly.progress.failed

    def _plan(
        self, block: Block, assembly: Assembly, recipe: Recipe, call: EmbeddingCall
    ) -> list[PlannedBatch]:
        """Plan a block and take it; say once if context does nothing for most of its chunks."""
        documents = plan_documents(self._backend, recipe, block, assembly.progress.taken)
        assembly.add(documents)
        cached = count_cached(documents)
        call.take(len(documents), cached)
        with self._lock:
            cached += self.usage.cached_documents
            self.usage = replace(self.usage, cached_documents=cached)
        usual = recipe.layout.usual_chunk_tokens
        chunks, seen = count_siblings(documents, usual)
        if recipe.layout.context_weight and 2 * seen < chunks and not self._warned:
            self._warned = True
            _LOG.warning(
                "%d of %d chunks have no sibling in their window of %d tokens: context does "
                "nothing for them. Hint: split into chunks of up to %d tokens, or set another "
                "window_tokens.",
                *(chunks - seen, chunks, recipe.layout.window_tokens, usual),
            )
        return plan_batches(documents, recipe, self._backend.limits)

    def _embed(self, batch: Batch, recipe: Recipe, call: EmbeddingCall) -> list[Outcome]:
        """Return one array or error per window; one bad document spoils no other."""
        try:
            with call.batch(len(batch.windows), batch.tokens):
                return self._counted(batch, self._backend.embed(batch), recipe)
        except EmbedError as error:
            parts = _parts(batch, error)
            if not parts:
                return _failed(batch, error)
        return [row for part in parts for row in self._embed(part, recipe, call)]

    async def _aembed(
        self, batch: Batch, recipe: Recipe, gate: Gate, call: EmbeddingCall
    ) -> list[Outcome]:
        try:
            async with gate.entered():
                with call.batch(len(batch.windows), batch.tokens):
                    rows = await self._backend.aembed(batch)
                    return self._counted(batch, rows, recipe)
        except EmbedError as error:
            parts = _parts(batch, error)
            if not parts:
                return _failed(batch, error)
        return [row for part in parts for row in await self._aembed(part, recipe, gate, call)]

    def _counted(self, batch: Batch, rows: Sequence[Array], recipe: Recipe) -> list[Outcome]:
        check_rows(batch, rows, recipe)
        with self._lock:
            used = self.usage
            self.usage = replace(
                used, tokens=used.tokens + batch.tokens, requests=used.requests + 1
            )
        return [*rows]


@contextmanager
def _threads(
    concurrency: int, queue: BatchQueue[Future[Any]], assembly: Assembly, recipe: Recipe
) -> Iterator[ThreadPoolExecutor]:
    """Give threads for the batches of a call, and keep what is under way when it fails."""
    stopped = Event()
    pool = ThreadPoolExecutor(concurrency, "ctxembed-batch", STOPPED.set, (stopped,))
    try:
        yield pool
    except EmbedError:
        if recipe.cache is not None:
            left = [each for each in queue.under_way if not each.cancel()]
            wait(left, SECONDS_FOR_THE_REST)
        raise
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
        _put_rest(assembly, queue.under_way, recipe)


@asynccontextmanager
async def _tasks(
    gate: Gate, queue: BatchQueue[asyncio.Task[Any]], assembly: Assembly, recipe: Recipe
) -> AsyncIterator[set[asyncio.Task[Any]]]:
    """Give a set for the tasks of a call, and keep what is under way when it fails."""
    tasks: set[asyncio.Task[Any]] = set()
    try:
        yield tasks
    except EmbedError:
        if recipe.cache is not None:
            await gate.close(queue.under_way)
        raise
    finally:
        await cancelled(tasks)
        await finished(_put_rest, assembly, queue.under_way, recipe)


def _wants_more(queue: BatchQueue[Any], assembly: Assembly) -> bool:
    """Tell whether more documents should be read now."""
    return queue.has_room and assembly.held < HELD_BYTES and assembly.failed is None


def _queue(limits: Limits, cancel: Callable[[Any], bool]) -> BatchQueue[Any]:
    return BatchQueue(BATCHES_PER_BLOCK * limits.concurrency, cancel)


def halves(parts: Sequence[T], error: Exception) -> tuple[Sequence[T], ...]:
    """Return two halves of what failed together where one part may be the cause, else nothing."""
    middle = len(parts) // 2
    if not middle or not isinstance(error, OF_ONE_DOCUMENT):
        return ()
    return parts[:middle], parts[middle:]


def _parts(batch: Batch, error: EmbedError) -> list[Batch]:
    """Return what to try again of a batch that failed: its halves, or nothing."""
    return [replace(batch, windows=tuple(half)) for half in halves(batch.windows, error)]


def array_of(outcome: Outcome) -> Array:
    """Return the array, or raise the error in its place."""
    if isinstance(outcome, EmbedError):
        raise outcome
    return outcome


def _failed(batch: Batch, error: EmbedError) -> list[Outcome]:
    """Return the error of a whole batch for each of its windows, with the documents it is about."""
    numbers = [window.document for window in batch.windows]
    last = max(numbers) if max(numbers) > min(numbers) else None
    return [error.at(document=min(numbers), last_document=last)] * len(numbers)


def _put_rest(assembly: Assembly, under_way: dict[Any, list[Place]], recipe: Recipe) -> None:
    """Keep the documents of batches that came to an end while the call was being stopped."""
    if recipe.cache is None:
        return
    for future, places in under_way.items():
        if future.done() and not future.cancelled() and future.exception() is None:
            assembly.put(places, future.result())
