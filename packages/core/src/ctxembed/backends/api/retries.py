"""Repeating what failed and may pass: how often, after which wait, and for how long in all.

Which failures may pass is for the attempt itself to say: it raises a `TransientFailure`.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ctxembed.backends.api.concurrency import ConcurrencyLimiter
from ctxembed.errors import ApiError, EmbedError
from ctxembed.telemetry import add_event
from ctxembed.telemetry.names import ATTEMPT, ERROR_TYPE, RESPONSE_STATUS, RETRY_EVENT, WAIT

FIRST_WAIT = 0.5
"""Seconds before the second attempt. Each later wait is twice as long as the one before."""

LONGEST_WAIT = 30.0
"""Seconds that these waits grow to. What the server asks for may be longer."""

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class TransientFailure(Exception):  # noqa: N818 - a signal to `retry`
    """An attempt failed with `error`, and another may not.

    `retry_after` is the wait in seconds that the server asks for, None where it asks for none.
    """

    def __init__(self, error: EmbedError, retry_after: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.retry_after = retry_after


async def retry(
    attempt: Callable[[float], Awaitable[T]],
    limiter: ConcurrencyLimiter,
    *,
    max_retries: int,
    seconds: float,
) -> T:
    """Return what `attempt` returns.

    It is called in a slot of the limiter, with the time at which the slot began. After a
    `TransientFailure` it is called again, `max_retries` times at most, and only where the next wait
    would end within `seconds`. These count attempts and the waits between them, and not the waiting
    for a slot. The waits are outside the slot. Each is up to a quarter longer than it should be,
    also where the server asked for it, so that clients do not come back all at once.

    Raises:
        EmbedError: The error of the last failure, with its cause.
    """
    spent, retries, grown = 0.0, 0, FIRST_WAIT
    while True:
        try:
            async with limiter.slot() as began:
                return await attempt(began)
        except TransientFailure as failure:
            wait = grown if failure.retry_after is None else failure.retry_after
            wait *= random.uniform(1, 1.25)  # noqa: S311 - spreads requests, keeps no secret
            spent += time.monotonic() - began + wait
            if retries == max_retries or spent > seconds:
                raise failure.error from failure.__cause__
            retries += 1
            name = type(failure.error).__name__
            _LOG.warning("attempt %d failed (%s), again in %.1f s", retries, name, wait)
            add_event(RETRY_EVENT, _described(failure.error, retries, wait))
        await asyncio.sleep(wait)
        grown = min(LONGEST_WAIT, 2 * grown)


def _described(error: EmbedError, attempt: int, wait: float) -> dict[str, str | int | float]:
    """Return the attributes of the event that tells of a failed attempt."""
    found: dict[str, str | int | float] = {
        ERROR_TYPE: type(error).__name__,
        ATTEMPT: attempt,
        WAIT: wait,
    }
    if isinstance(error, ApiError) and error.status_code is not None:
        found[RESPONSE_STATUS] = error.status_code
    return found
