"""`SqliteCache`: a `VectorCache` in one SQLite file of a folder.

Entries that were used least recently go when the file is larger than its limit. What fails is said
once, and the run goes on without the cache.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

from ctxembed.cache.sqlite_file import connect, make, read, shrink, used_bytes, write
from ctxembed.errors import ConfigurationError
from ctxembed.forks import fork_lock
from ctxembed.settings import LARGEST_CACHE

T = TypeVar("T")

_LOG = logging.getLogger("ctxembed")

_SECONDS_OF_REST = 60.0
"""After a failure nothing is tried for this long, so that a run does not wait at every batch."""

_KEPT = 0.9
"""The share of the limit that is left when entries had to go."""

_LARGEST = 0.5
"""The share of the limit that one entry may take: a larger one would push out all others."""


class SqliteCache:
    """Vectors in `FOLDER/vectors.sqlite`; one connection per process, which its threads share."""

    _connection: sqlite3.Connection | None = None

    def __init__(self, folder: str | Path, most_bytes: int = LARGEST_CACHE) -> None:
        """Open the cache of a folder, or make it.

        A folder that cannot be used is said in one line, and the cache stays empty.

        Raises:
            ConfigurationError: The folder is in a home directory that is not known.
        """
        try:
            self.folder = Path(folder).expanduser()
        except RuntimeError as error:
            raise ConfigurationError(
                f"the folder of the cache is {str(folder)!r}, and there is no such home directory. "
                "Hint: name the folder by its whole path."
            ) from error
        self._most_bytes = most_bytes
        self._lock = fork_lock()
        self._resting_until = 0.0
        self._warned = False
        _CACHES.add(self)
        self._attempt(lambda _: None, None)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is kept under those of the keys that are there."""
        return self._attempt(lambda connection: read(connection, keys), {})

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep the entries, in one transaction; one that is large for the limit is left out."""
        most = self._most_bytes * _LARGEST
        kept = {key: data for key, data in entries.items() if len(data) <= most}

        def keep(connection: sqlite3.Connection) -> None:
            write(connection, kept)
            if used_bytes(connection) > self._most_bytes:
                shrink(connection, int(self._most_bytes * _KEPT))

        self._attempt(keep, None)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._lock:
            self._resting_until = float("inf")
            self._disconnect()

    def __del__(self) -> None:
        """Close the connection where nobody did; Python 3.13 warns of one that is left open."""
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _attempt(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        with self._lock:
            if time.monotonic() < self._resting_until:
                return otherwise
            try:
                if self._connection is None:
                    make(self.folder)
                    self._connection = connect(self.folder)
                return action(self._connection)
            except (sqlite3.Error, OSError, ConfigurationError) as error:
                self._disconnect()  # the file may be another one when it is tried again
                self._resting_until = time.monotonic() + _SECONDS_OF_REST
                if not self._warned:
                    self._warned = True
                    _LOG.warning(
                        "%s, and the run goes on without it.", _reason(self.folder, error)
                    )
                return otherwise
            except BaseException:  # an interrupt must leave no transaction that others wait for
                self._disconnect()
                raise


_CACHES: WeakSet[SqliteCache] = WeakSet()
_HELD: list[SqliteCache] = []


def _before_fork() -> None:
    """Close all connections: SQLite's locks belong to one process, and a child has none of them."""
    for cache in [*_CACHES]:
        cache._lock.acquire()  # noqa: SLF001 - free again behind the fork, in both processes
        cache._disconnect()  # noqa: SLF001 - same module
        _HELD.append(cache)


def _after_fork_in_parent() -> None:
    while _HELD:
        _HELD.pop()._lock.release()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_HELD.clear,  # `forks` frees the locks
    )


def _reason(folder: Path, error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return f"The vector cache cannot be used: {error.message.rstrip('.')}"
    return f"The vector cache in {folder} cannot be used ({error})"
