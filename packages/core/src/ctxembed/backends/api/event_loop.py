"""One event loop in a thread of its own, for callers in any thread or loop, with what lives in it."""

import asyncio
import os
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any, Generic, Protocol, TypeVar

from ctxembed.errors import BackendError
from ctxembed.forks import fork_lock


class Closable(Protocol):
    """What has to be closed in the loop that it was used in."""

    async def close(self) -> None:
        """Let go of it."""


_LONGEST_CLOSE = 5.0
"""Seconds that closing the resource may take."""

R = TypeVar("R", bound=Closable)
T = TypeVar("T")


class LoopThread(Generic[R]):
    """Runs coroutines over one resource, which `make` returns, in the loop.

    Starts with the first one, and anew in the child of a fork. Ends when it is closed, or when nothing
    refers to it any more. `make` must not refer to whoever owns this, or it would never end by itself.
    """

    def __init__(self, name: str, make: Callable[[], R]) -> None:
        self._name = name
        self._make = make
        self._lock = fork_lock()
        self._running: _Running[R] | None = None
        self._closed = False

    def start(self) -> None:
        """Make the resource ready, without waiting; what goes wrong comes out of the first `submit`."""
        with suppress(BackendError):
            self.submit(_nothing)

    def submit(self, function: Callable[[R], Coroutine[Any, Any, T]]) -> Future[T]:
        """Return a future for what the function's coroutine returns; cancelling it cancels that."""
        with self._lock:
            if self._closed:
                raise BackendError("the embedder is closed. Hint: open another.")
            if self._running is None or self._running.process != os.getpid():
                self._running = _Running(self._name, self._make)
                # at the end of the process the thread is left alone, as any daemon thread is
                weakref.finalize(self, self._running.end).atexit = False
            running = self._running
            return asyncio.run_coroutine_threadsafe(running.call(function), running.loop)

    def close(self) -> None:
        """Cancel what is under way, close the resource, and end the thread. A second call waits too."""
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None and running.process == os.getpid():
            running.end()
            running.thread.join()


class _Running(Generic[R]):
    """A loop that runs, its thread, and the process that they run in: a fork inherits neither."""

    def __init__(self, name: str, make: Callable[[], R]) -> None:
        self._make = make
        self._resource: R | None = None
        self._ending = False
        self.process = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.thread = Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    async def call(self, function: Callable[[R], Coroutine[Any, Any, T]]) -> T:
        """Make the resource if this is the first call, and run the function over it."""
        if self._resource is None:
            self._resource = self._make()
        return await function(self._resource)

    def end(self) -> None:
        """Have the thread end soon; doesn't wait, since collectors of garbage call this anywhere."""
        if self.process != os.getpid() or self._ending:
            return
        self._ending = True
        with suppress(RuntimeError):  # the loop is closed already
            self.loop.call_soon_threadsafe(self.loop.stop)

    def _run(self) -> None:
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._wind_up())
        finally:
            self.loop.close()

    async def _wind_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._resource is not None:
            with suppress(Exception):  # nobody is left to be told
                async with asyncio.timeout(_LONGEST_CLOSE):
                    await self._resource.close()


async def _nothing(_: object) -> None:
    pass
