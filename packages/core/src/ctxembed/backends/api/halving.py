"""Halving a batch whose request takes too long: a slow server then has less to do at a time.

`execution.halves` is for another case, a batch that one of its documents may have spoiled. There
each half may fail alone; here a half that fails is the failure of the whole batch.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ctxembed.batches import Batch
from ctxembed.encoding import Array
from ctxembed.errors import ApiTimeoutError

_LOG = logging.getLogger(__name__)


async def send_in_halves(
    batch: Batch, send: Callable[[Batch], Awaitable[list[Array]]]
) -> list[Array]:
    """Return the rows of a batch; after a timeout those of its halves, sent one after the other.

    Raises:
        ApiTimeoutError: One window alone takes too long.
    """
    try:
        return await send(batch)
    except ApiTimeoutError:
        if len(batch.windows) == 1:
            raise
    _LOG.warning("%d windows took too long, again in two parts", len(batch.windows))
    middle = len(batch.windows) // 2
    rows: list[Array] = []
    for windows in (batch.windows[:middle], batch.windows[middle:]):
        rows += await send_in_halves(replace(batch, windows=windows), send)
    return rows
