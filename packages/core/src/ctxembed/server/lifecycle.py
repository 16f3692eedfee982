"""The life of a server: the model loads while the server already listens, then it is ready, then it drains."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Literal

from starlette.exceptions import HTTPException

from ctxembed.server.service import Service

LOGGER = logging.getLogger("ctxembed.server")

Status = Literal["loading", "ready", "draining", "failed"]

_CLOSE_TIMEOUT = 30.0
"""Seconds that a shutdown waits for the batch that is in the model."""


class Lifecycle:
    """Opens the service once the server runs, and closes it with the server.

    `failed` is called with the error that kept the service from being opened.
    """

    def __init__(
        self,
        open_service: Callable[[], Service],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self._open_service = open_service
        self._failed = failed
        self._service: Service | None = None
        self.status: Status = "loading"

    @property
    def service(self) -> Service:
        """The service; while there is none, a 503 is raised."""
        if self._service is None:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the model is {self.status}.",
                {"Retry-After": "5"},
            )
        return self._service

    def drain(self) -> None:
        """Say from now on that the server is no longer ready. Requests under way go on."""
        self.status = "draining"

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Load the model while the block runs, and close it after the block."""
        loading = asyncio.create_task(self._load())
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.wait((loading,))
            if self._service is not None:
                await asyncio.to_thread(self._service.close, _CLOSE_TIMEOUT)

    async def _load(self) -> None:
        loader = ThreadPoolExecutor(1, "ctxembed-load")
        opening = loader.submit(self._open_service)
        loader.shutdown(wait=False)
        try:
            self._service = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        except Exception as error:  # noqa: BLE001 - `failed` decides what any error means
            self.status = "failed"
            # no traceback: its message may hold a path
            LOGGER.error("the model cannot be opened: %s", type(error).__name__)  # noqa: TRY400
            if self._failed is not None:
                self._failed(error)
            return
        if self.status == "loading":
            self.status = "ready"
        LOGGER.info("ready: %s", self._service.served_model)


def _close(opening: Future[Service]) -> None:
    """Close a service that was opened after its server had ended."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
