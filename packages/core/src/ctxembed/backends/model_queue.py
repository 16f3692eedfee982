"""The queue in front of a loaded model: threads and event loops enter it one after the other.

What the model is, and what becomes of its errors, is left to the backends.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from weakref import WeakSet

from ctxembed.errors import BackendError

P = ParamSpec("P")
T = TypeVar("T")


class ModelQueue:
    """Runs functions in a thread of its own (or in `workers` threads), in the order of the calls.

    It still works in the child of a fork, which inherits objects but no threads. The threads end
    when the queue is closed or nothing refers to it any more.
    """

    def __init__(self, name: str = "model", workers: int = 1) -> None:
        self._name = name
        self._workers = workers
        self._renew()
        _QUEUES.add(self)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Put a call into the queue, and return its future."""
        try:
            return self._executor.submit(function, *args, **kwargs)
        except RuntimeError as error:  # what an executor says once it is shut down
            raise BackendError("the embedder is closed. Hint: open another.") from error

    async def arun(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of a call; one that is cancelled in the queue is dropped."""
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    def close(self) -> None:
        """Accept no more calls; running ones end. A second call of `close` does nothing."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _renew(self) -> None:
        self._executor = ThreadPoolExecutor(self._workers, f"ctxembed-{self._name}")


_QUEUES: WeakSet[ModelQueue] = WeakSet()


def _after_fork_in_child() -> None:
    for queue in list(_QUEUES):
        queue._renew()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
