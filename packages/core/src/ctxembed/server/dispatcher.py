"""One queue in front of one model: `Dispatcher`, whose thread runs batches one after the other.

`scheduling` decides what goes into a batch. Requests wait on futures; cancelling one drops its
windows.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http import HTTPStatus
from threading import Condition, Thread

from starlette.exceptions import HTTPException

from ctxembed.assembly import check_rows
from ctxembed.backends import Backend
from ctxembed.batches import Batch
from ctxembed.encoding import Array
from ctxembed.execution import halves
from ctxembed.recipe import Recipe
from ctxembed.server.scheduling import Job, Ticket, batches_of, by_job, take_turn
from ctxembed.windows import Window

LONGEST_WAIT = 60
"""Seconds that `Retry-After` says at the most; the official client ignores longer ones."""

_NEW_RATE = 0.2


class Dispatcher:
    """Runs the windows of many requests through a backend; a request's failure is its own.

    Holds at most `most_tokens` of windows, except that a request is never refused by an idle model.
    `observe` is called with tokens and seconds of every batch.
    """

    def __init__(
        self, backend: Backend, *, most_tokens: int, observe: Callable[[int, float], None]
    ) -> None:
        self._backend = backend
        self._most = most_tokens
        self._observe = observe
        self._jobs: deque[Job] = deque()
        self._changed = Condition()
        self._held = 0
        self._rate = 0.0
        self._closing = False
        self._thread = Thread(target=self._work, name="ctxembed-dispatch", daemon=True)
        self._thread.start()

    @property
    def held(self) -> int:
        """Tokens of windows that wait or are in the model."""
        return self._held

    def submit(self, windows: Sequence[Window], recipe: Recipe) -> Future[list[Array]]:
        """Return a future of one array per window; a full queue is an `HTTPException` with 429."""
        job = Job(windows, recipe, sum(window.tokens for window in windows))
        with self._changed:
            if self._closing:
                raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the server is shutting down.")
            if self._held and self._held + job.tokens > self._most:
                raise HTTPException(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "the queue is full. Try again in a while.",
                    {"Retry-After": str(self._wait())},
                )
            self._held += job.tokens
            self._jobs.append(job)
            self._changed.notify()
        job.future.add_done_callback(lambda _: self._release(job.tokens))
        return job.future

    def close(self, timeout: float | None = None) -> None:
        """Take no more, give up what waits, and let the batch in the model end."""
        with self._changed:
            self._closing = True
            waiting = list(self._jobs)
            self._changed.notify()
        for job in waiting:
            job.future.cancel()
        self._thread.join(timeout)

    def _release(self, tokens: int) -> None:
        with self._changed:
            self._held -= tokens

    def _wait(self) -> int:
        """Return the seconds until about half of what is held has gone through."""
        seconds = self._held / 2 / self._rate if self._rate else 1.0
        return max(1, min(LONGEST_WAIT, math.ceil(seconds)))

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                turn = take_turn(self._jobs, self._backend.limits)
            for tickets in batches_of(turn, self._backend.limits):
                if self._closing:
                    return
                self._run(tickets)

    def _run(self, tickets: Sequence[Ticket]) -> None:
        """Run a batch; where one of its requests may be the cause of an error, in halves."""
        alive = [ticket for ticket in tickets if not ticket.job.future.done()]
        if not alive:
            return
        try:
            rows = self._embed(alive)
        except Exception as error:  # noqa: BLE001 - it goes to its own requests
            requests = by_job(alive)
            parts = halves(requests, error)
            for part in parts:
                self._run([ticket for request in part for ticket in request])
            if not parts:
                for request in requests:
                    _fail(request[0], error)
        else:
            for ticket, row in zip(alive, rows, strict=True):
                _deliver(ticket, row)

    def _embed(self, tickets: Sequence[Ticket]) -> list[Array]:
        recipe = tickets[0].job.recipe
        windows = tuple(ticket.window for ticket in tickets)
        batch = Batch(windows, recipe.form, recipe.prefix)
        started = time.perf_counter()
        rows = self._backend.embed(batch)
        check_rows(batch, rows, recipe)
        seconds = time.perf_counter() - started
        tokens = sum(window.tokens for window in windows)
        rate = tokens / max(seconds, 1e-9)
        self._rate += (_NEW_RATE if self._rate else 1.0) * (rate - self._rate)
        self._observe(tokens, seconds)
        return rows


def _deliver(ticket: Ticket, row: Array) -> None:
    job = ticket.job
    job.rows[ticket.number] = row
    if len(job.rows) == len(job.windows) and job.future.set_running_or_notify_cancel():
        job.future.set_result([job.rows[number] for number in range(len(job.windows))])


def _fail(ticket: Ticket, error: Exception) -> None:
    future = ticket.job.future
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_exception(error)
