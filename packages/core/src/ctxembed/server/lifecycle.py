"""The life of a server: it listens while the model loads, then it is ready, then it drains."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from threading import Lock, Thread
from typing import Literal

from starlette.exceptions import HTTPException

from ctxembed.server.service import Service

LOGGER = logging.getLogger("ctxembed.server")

_CLOSE_TIMEOUT = 30.0
"""Seconds that a shutdown waits for the batch that is in the model."""


class Lifecycle:
    """Opens the service once the server runs, and closes it with the server.

    `failed` is called, in a thread, with the error that kept the service from being opened.
    """

    def __init__(
        self,
        open_service: Callable[[], Service],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        self._open_service = open_service
        self._failed = failed
        self._service: Service | None = None
        self._ended = False
        self._lock = Lock()
        self.status: Literal["loading", "ready", "draining", "failed"] = "loading"

    @property
    def service(self) -> Service:
        """The service. While there is none, this raises a 503."""
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
        Thread(target=self._load, name="ctxembed-load").start()
        try:
            yield
        finally:
            with self._lock:
                self._ended = True
            if self._service is not None:
                await asyncio.to_thread(self._service.close, _CLOSE_TIMEOUT)

    def _load(self) -> None:
        try:
            service = self._open_service()
        except Exception as error:  # noqa: BLE001 - `failed` decides what any error means
            self.status = "failed"
            # no traceback: its message may hold a path
            LOGGER.error("the model cannot be opened: %s", type(error).__name__)  # noqa: TRY400
            if self._failed is not None:
                self._failed(error)
            return
        with self._lock:
            if not self._ended:
                self._service = service
        if self._service is None:
            service.close()
            return
        if self.status == "loading":
            self.status = "ready"
        LOGGER.info("ready: %s", service.served_model)
