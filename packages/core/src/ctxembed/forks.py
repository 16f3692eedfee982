"""`ForkLock`: a lock that is free again in the child of a fork.

The thread that held it does not exist in the child. What it guards must be whole at any moment: a
counter or a reference.
"""

import os
from threading import Lock
from weakref import WeakSet


class ForkLock:
    """A plain lock, used with `with`."""

    def __init__(self) -> None:
        self._lock = Lock()
        _LOCKS.add(self)

    def renew(self) -> None:
        """Make it free, whichever thread holds it."""
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_LOCKS: WeakSet[ForkLock] = WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_LOCKS):
        lock.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
