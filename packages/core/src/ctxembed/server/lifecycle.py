"""A server's life: the weights load while it already listens, then it is ready, at last it drains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Literal

from ctxembed.embedder import Embedder
from ctxembed.server.dispatcher import Dispatcher
from ctxembed.server.error_responses import Refusal
from ctxembed.server.metrics import Metrics
from ctxembed.server.service import Service

LOGGER = logging.getLogger("ctxembed.server")

Status = Literal["loading", "ready", "draining", "failed"]

_LAST_BATCH = 30.0
"""Seconds that a shutdown waits for the batch that is in the model."""


class Lifecycle:
    """Opens the model once the server runs, and closes it with the server.

    `failed` is called with what kept the model from being opened.
    """

    def __init__(
        self,
        open_embedder: Callable[[], Embedder],
        metrics: Metrics,
        *,
        aliases: Sequence[str],
        max_queue_tokens: int,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self._open = open_embedder
        self._metrics = metrics
        self._aliases = aliases
        self._most = max_queue_tokens
        self._failed = failed
        self._service: Service | None = None
        self.status: Status = "loading"

    @property
    def service(self) -> Service:
        """The service, or a `Refusal` with 503 while there is none."""
        if self._service is None:
            wait = {"Retry-After": "5"}
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"the model is {self.status}.", wait)
        return self._service

    def drain(self) -> None:
        """Say from now on that the server is no longer ready; what is under way goes on."""
        self.status = "draining"

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Load while the block runs, and close after it."""
        loading = asyncio.create_task(self._load())
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.wait((loading,))
            if self._service is not None:
                await asyncio.to_thread(self._service.close, _LAST_BATCH)

    async def _load(self) -> None:
        loader = ThreadPoolExecutor(1, "ctxembed-load")
        opening = loader.submit(self._opened)
        loader.shutdown(wait=False)
        try:
            service = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        except Exception as error:  # noqa: BLE001 - whoever runs the server decides what it means
            self.status = "failed"
            LOGGER.error("the model can't be opened: %s", type(error).__name__)  # noqa: TRY400 - see gate
            if self._failed is not None:
                self._failed(error)
            return
        self._service = service
        if self.status == "loading":
            self.status = "ready"
        LOGGER.info("ready: %s", service.served_model)

    def _opened(self) -> Service:
        embedder = self._open()
        dispatcher = Dispatcher(
            embedder.backend, most_tokens=self._most, observe=self._metrics.batch
        )
        self._metrics.watch_queue(lambda: dispatcher.held)
        return Service(embedder, dispatcher, self._aliases)


def _close(opening: Future[Service]) -> None:
    """Close a model that was opened for a server that had ended meanwhile."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
