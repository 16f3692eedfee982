"""One event loop in a thread of its own, for callers in any thread or loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

from ctxembed.errors import BackendError
from ctxembed.locks import ForkLock

T = TypeVar("T")


class LoopThread:
    """Runs coroutines; starts with the first one, and anew in the child of a fork."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = ForkLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._process = os.getpid()
        self._closed = False

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Return a future for the coroutine's result; cancelling it cancels the coroutine."""
        with self._lock:
            if self._closed:
                coroutine.close()
                raise BackendError("the embedder is closed. Hint: open another.")
            if self._loop is None or self._process != os.getpid():
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    @property
    def process(self) -> int:
        """The process that the loop runs in: what is bound to the loop dies with it."""
        return self._process

    def close(self) -> None:
        """Cancel what is under way, and end the thread. A second call does nothing."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or self._process != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
