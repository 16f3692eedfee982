"""Tasks of one async call: how many are in the model at once, and how they are waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

SECONDS_FOR_THE_REST = 10.0
"""How long a call that has failed waits for requests under way, whose rows a cache would keep."""


class Gate:
    """Lets so many tasks in at once; who is in can come to an end although the call has failed."""

    def __init__(self, concurrency: int) -> None:
        self._free = asyncio.Semaphore(concurrency)
        self._inside: set[asyncio.Task[Any] | None] = set()

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Wait for a free place, and hold it."""
        task = asyncio.current_task()
        async with self._free:
            self._inside.add(task)
            try:
                yield
            finally:
                self._inside.discard(task)

    def cancel(self, task: asyncio.Task[Any]) -> bool:
        """Cancel a task that is not inside, and tell whether that was done."""
        return task not in self._inside and task.cancel()

    async def close(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Cancel the tasks that are not inside, and wait for the others for a while."""
        left = [task for task in tasks if not self.cancel(task) and not task.done()]
        if left:
            await asyncio.wait(left, timeout=SECONDS_FOR_THE_REST)


async def finished(function: Callable[..., None], *given: object) -> None:
    """Run a function in a thread, and wait for its end also where the call is cancelled."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *given))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


async def cancelled(started: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait for their end."""
    left = [*started]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
