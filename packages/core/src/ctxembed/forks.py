"""`fork_lock`: a lock that is free again in the child of a fork.

The thread that held it does not exist in the child. What it guards must be consistent at any
moment: a counter or a reference.
"""

import os
from threading import Lock
from weakref import WeakSet

_LOCKS: WeakSet[Lock] = WeakSet()


def fork_lock() -> Lock:
    """Return a plain lock that every child of this process finds free."""
    lock = Lock()
    _LOCKS.add(lock)
    return lock


def _after_fork_in_child() -> None:
    for lock in list(_LOCKS):
        if lock.locked():
            lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
