"""One event loop in a thread of its own, and what lives in it, for callers anywhere."""

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

    The thread starts with the first coroutine, and anew in the child of a fork. It ends when this
    is closed, or when nothing refers to this any more. For that, `make` must not refer to the
    owner.
    """

    def __init__(self, name: str, make: Callable[[], R]) -> None:
        self._name = name
        self._make = make
        self._lock = fork_lock()
        self._running: _Running[R] | None = None
        self._closed = False

    def start(self) -> None:
        """Make the resource ready, without waiting; its errors come out of the first `submit`."""
        with suppress(BackendError):
            self.submit(lambda _: asyncio.sleep(0))

    def submit(self, function: Callable[[R], Coroutine[Any, Any, T]]) -> Future[T]:
        """Return a future of what the function's coroutine returns.

        Cancelling the future cancels the coroutine.

        Raises:
            BackendError: This is closed.
        """
        with self._lock:
            if self._closed:
                raise BackendError("the embedder is closed. Hint: open another.")
            if self._running is None or self._running.process != os.getpid():
                self._running = _Running(self._name, self._make)
                # at the end of the process the thread is left alone, as any daemon thread is
                weakref.finalize(self, self._running.end).atexit = False
            return asyncio.run_coroutine_threadsafe(
                self._running.call(function), self._running.loop
            )

    def close(self) -> None:
        """Cancel what is under way, close the resource, end the thread, and wait for its end."""
        with self._lock:
            self._closed = True
            running = self._running
        if running is not None and running.process == os.getpid():
            running.end()
            running.thread.join()


class _Running(Generic[R]):
    """A running loop, its thread, and the process they run in: a fork inherits neither of them."""

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
        """Have the thread end soon; does not wait, because the garbage collector calls this too."""
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
