"""`ReplyMemory`: what the replies under way weigh, bounded before a request is begun.

A short request can have a large reply: 15,872 chunks of one letter, 2,560 dimensions as numbers,
are 822 MB of JSON. Weights are in bytes, and are what the rows and the JSON take while both are
there.
"""

from collections.abc import Callable
from http import HTTPStatus
from threading import Lock

from starlette.exceptions import HTTPException

from ctxembed.recipe import Recipe
from ctxembed.wire import WireFormat, row_bytes

MAX_REPLY_BYTES = 64 * 2**20
"""Largest reply: 16,000 chunks with 2,560 dimensions as base64 of int8 fit in."""

MAX_REPLIES = 12
"""Weight of all replies under way, as a multiple of the largest one."""

_AROUND_A_ROW = 64
_NUMBER = 24
"""Most bytes of a number and its comma in JSON."""

_COPIES = 3
"""How often a reply is there while it is made: as text of its vectors, as JSON, as it grows."""


def reply_bytes(rows: int, dimensions: int, wire_format: WireFormat) -> int:
    """Return the most bytes of a reply with so many vectors.

    >>> reply_bytes(16_000, 2560, "base64_int8"), reply_bytes(1, 2560, "float")
    (55680000, 61504)
    """
    if wire_format == "float":
        row = _NUMBER * dimensions
    else:
        size = 4 * dimensions if wire_format == "base64" else row_bytes(wire_format, dimensions)
        row = 4 * -(-size // 3)
    return rows * (row + _AROUND_A_ROW)


def weight_of(rows: int, recipe: Recipe, wire_format: WireFormat) -> int:
    """Return what a request for so many vectors weighs, or raise a 413 for too large a reply."""
    reply = reply_bytes(rows, recipe.dimensions, wire_format)
    if reply > MAX_REPLY_BYTES:
        raise HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the reply would have up to {reply:,} bytes; the maximum is {MAX_REPLY_BYTES:,}. Send "
            "fewer chunks at once, or ask for another encoding_format.",
        )
    # contextual and independent rows where they are mixed, and the rows that come of them
    row = recipe.width * (8 if recipe.form == "pooled" else 1)
    row += recipe.dimensions * (4 if recipe.encoding == "float" else 1)
    return rows * row + _COPIES * reply


class ReplyMemory:
    """Takes replies as long as they weigh no more than `MAX_REPLIES` of the largest."""

    def __init__(self) -> None:
        self._held = 0
        self._lock = Lock()

    def hold(self, weight: int) -> Callable[[], None]:
        """Count a reply, and return what lets go of it; a 429 where there are too many."""
        with self._lock:
            if self._held + weight > MAX_REPLIES * MAX_REPLY_BYTES:
                raise HTTPException(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "too many large replies at once. Try again in a while.",
                    {"Retry-After": "1"},
                )
            self._held += weight

        def release() -> None:
            with self._lock:
                self._held -= weight

        return release
