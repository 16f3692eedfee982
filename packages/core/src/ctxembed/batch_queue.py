"""`BatchQueue`: the batches of a call, waiting and under way; a large document starves no other.

It knows no model: what starts a batch is handed to it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from ctxembed.batches import Batch
from ctxembed.planning import Place, PlannedBatch

FutureRows = TypeVar("FutureRows", bound=Future[Any] | asyncio.Future[Any])


class BatchQueue(Generic[FutureRows]):
    """Batches in order, except that those of a large document take turns with the others.

    Large documents go one after the other. `most` is how many batches may wait and be under way
    before no more documents are read; at most half of them are `under_way`. There a batch has the
    places of its windows. `cancel` gives up a batch that the model has not begun, and tells whether
    it could.
    """

    def __init__(self, most: int, cancel: Callable[[FutureRows], bool]) -> None:
        self.under_way: dict[FutureRows, list[Place]] = {}
        self._most = most
        self._cancel = cancel
        self._others: deque[PlannedBatch] = deque()
        self._large: dict[int, deque[PlannedBatch]] = {}
        self._large_is_next = False

    def __bool__(self) -> bool:
        return bool(self._others or self._large or self.under_way)

    @property
    def has_room(self) -> bool:
        """Tell whether so little waits that more documents should be read.

        A large document counts as less than half of the most: what stands behind one is read, and
        what stands behind two waits for the first of them.
        """
        half = self._most // 2
        large = sum(min(len(batches), half - 1) for batches in self._large.values())
        return len(self.under_way) + len(self._others) + large < self._most

    def add(self, batches: Iterable[PlannedBatch]) -> None:
        """Take the batches of the next documents."""
        for batch in batches:
            if batch.large_document is None:
                self._others.append(batch)
            else:
                self._large.setdefault(batch.large_document, deque()).append(batch)

    def start(self, started: Callable[[Batch], FutureRows]) -> None:
        """Start as many batches as may be under way."""
        while (self._others or self._large) and len(self.under_way) < self._most // 2:
            planned = self._next()
            self.under_way[started(planned.batch)] = planned.places

    def end(self, future: FutureRows) -> list[Place]:
        """Return the places of a batch that is no longer under way; nothing if it was cancelled."""
        return self.under_way.pop(future, [])

    def cancel_behind(self, failed: int) -> None:
        """Remove the batches that are only about documents behind a failed one."""
        self._others = deque(each for each in self._others if min(each.places)[0] <= failed)
        self._large = {n: batches for n, batches in self._large.items() if n <= failed}
        for future in [*self.under_way]:
            if min(self.under_way[future])[0] > failed and self._cancel(future):
                del self.under_way[future]

    def _next(self) -> PlannedBatch:
        large = bool(self._large) and (self._large_is_next or not self._others)
        self._large_is_next = not large
        if not large:
            return self._others.popleft()
        first = min(self._large)
        planned = self._large[first].popleft()
        if not self._large[first]:
            del self._large[first]
        return planned
