"""`SqliteCache`: a `VectorCache` in one SQLite file of a folder.

Write-ahead logging lets processes read while one of them writes, and a process that is killed
leaves the file whole. Entries that were used least recently go when the file is larger than its
limit. What fails is said once, and the run goes on without the cache.
"""

import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from weakref import WeakSet

from ctxembed.errors import ConfigurationError
from ctxembed.forks import fork_lock
from ctxembed.settings import LARGEST_CACHE

T = TypeVar("T")

FILE_NAME = "vectors.sqlite"
_LOG = logging.getLogger("ctxembed")
_APPLICATION = 0x63747865  # "ctxe", kept in the file's head
_VERSION = 1
_SCHEMA = f"""
PRAGMA page_size = 4096;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
BEGIN;
CREATE TABLE entries (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE keys (
    key BLOB PRIMARY KEY, id INTEGER NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_use ON keys (used);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_SECONDS_FOR_A_LOCK = 5.0
_SECONDS_OF_REST = 60.0
"""After a failure nothing is tried for this long, so that a run does not wait at every batch."""

_SECONDS_BETWEEN_USES = 3600.0
"""A use is noted when the last one is older than this: reading writes nothing most of the time."""

_KEPT = 0.9
"""The share of the limit that is left when entries had to go."""

_STEP_BYTES = 64 * 2**20
"""Entries go in steps of this size, so that other processes wait a short time only."""


@dataclass(frozen=True, slots=True)
class CacheContents:
    """What a cache holds: documents, bytes of the file, and seconds since the epoch of uses."""

    documents: int
    file_bytes: int
    oldest_use: float | None
    newest_use: float | None


class SqliteCache:
    """Vectors in `FOLDER/vectors.sqlite`; one connection per process, which its threads share."""

    def __init__(self, folder: str | Path, most_bytes: int = LARGEST_CACHE) -> None:
        """Open the cache of a folder, or make it.

        A folder that cannot be used is said in one line, and the cache stays empty.
        """
        self.folder = Path(folder).expanduser()
        self._most_bytes = most_bytes
        self._lock = fork_lock()
        self._connection: sqlite3.Connection | None = None
        self._resting_until = 0.0
        self._warned = False
        _CACHES.add(self)
        self._attempt(lambda _: None, None)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is kept under those of the keys that are there."""
        return self._attempt(lambda connection: _read(connection, keys), {})

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep the entries, in one transaction."""

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                _write(connection, entries)
            if _used_bytes(connection) > self._most_bytes:
                shrink(connection, int(self._most_bytes * _KEPT))

        self._attempt(write, None)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._lock:
            self._resting_until = float("inf")
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
                self._resting_until = time.monotonic() + _SECONDS_OF_REST
                if not self._warned:
                    self._warned = True
                    _LOG.warning(
                        "%s, and the run goes on without it.", _reason(self.folder, error)
                    )
                return otherwise


_CACHES: WeakSet[SqliteCache] = WeakSet()
_HELD: list[SqliteCache] = []


def _before_fork() -> None:
    """Close all connections: SQLite's locks belong to one process, and a child has none of them."""
    for cache in [*_CACHES]:
        cache._lock.acquire()  # noqa: SLF001 - free again behind the fork, in both processes
        cache._disconnect()  # noqa: SLF001
        _HELD.append(cache)


def _after_fork_in_parent() -> None:
    while _HELD:
        _HELD.pop()._lock.release()  # noqa: SLF001


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_HELD.clear,  # `forks` frees the locks
    )


def connect(folder: Path) -> sqlite3.Connection:
    """Return a connection to the cache of a folder, where there is one.

    Raises:
        ConfigurationError: The file is not a cache of this version.
        OSError: The folder cannot be made or written.
        sqlite3.Error: The file is damaged, locked, or the file system cannot lock files.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise ConfigurationError(f"{folder} holds no vector cache.")
    connection = _connection(path)
    try:
        _check(connection, path)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application, version = (
        _number(connection, "application_id"),
        _number(connection, "user_version"),
    )
    if (application, version) != (_APPLICATION, _VERSION):
        raise ConfigurationError(f"{path} is no vector cache of this version of ctxembed.")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        raise ConfigurationError(f"{path} is on a file system on which processes cannot share it.")


def _number(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=_SECONDS_FOR_A_LOCK, isolation_level=None, check_same_thread=False
    )


def make(folder: Path) -> None:
    """Make an empty cache, which appears complete; one that is there already stays.

    Raises:
        OSError: The folder cannot be made or written.
        sqlite3.Error: The file system cannot lock files.
    """
    path = folder / FILE_NAME
    if path.is_file():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives the files that it puts beside this one the same mode, which is 0600
    number, name = tempfile.mkstemp(dir=folder, prefix=f"{FILE_NAME}.")
    os.close(number)
    try:
        with closing(_connection(Path(name))) as connection:
            connection.executescript(_SCHEMA)
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        for each in folder.glob(f"{Path(name).name}*"):
            each.unlink()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _read(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    stale: list[bytes] = []
    now = time.time()
    for key in keys:
        row = connection.execute(
            "SELECT used, data FROM keys JOIN entries USING (id) WHERE key = ?", (key,)
        ).fetchone()
        if row is not None:
            found[key] = row[1]
            if now - row[0] > _SECONDS_BETWEEN_USES:
                stale.append(key)
    if stale:
        with _transaction(connection):
            connection.executemany(
                "UPDATE keys SET used = ? WHERE key = ?", [(now, key) for key in stale]
            )
    return found


def _write(connection: sqlite3.Connection, entries: Mapping[bytes, bytes]) -> None:
    now = time.time()
    for key, data in entries.items():
        _delete(connection, [key])
        number = connection.execute("INSERT INTO entries (data) VALUES (?)", (data,)).lastrowid
        connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (key, number, len(data), now))


def _delete(connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    each = [(key,) for key in keys]
    connection.executemany(
        "DELETE FROM entries WHERE id = (SELECT id FROM keys WHERE key = ?)", each
    )
    connection.executemany("DELETE FROM keys WHERE key = ?", each)


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages = _number(connection, "page_count") - _number(connection, "freelist_count")
    return pages * _number(connection, "page_size")


def shrink(
    connection: sqlite3.Connection, most_bytes: int | None, *, used_before: float = 0.0
) -> int:
    """Remove the documents used least recently, and give the space back to the file system.

    Those go that were last used before `used_before`, in seconds since the epoch, and as many more
    as it takes to fit into `most_bytes`. Returns how many went.
    """
    gone = 0
    while True:
        with _transaction(connection):
            excess = 0 if most_bytes is None else _used_bytes(connection) - most_bytes
            part = _oldest(connection, excess, used_before)
            _delete(connection, part)
        gone += len(part)
        # `execute` would give back one page only
        connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
        if not part:
            return gone


def _oldest(connection: sqlite3.Connection, excess: int, used_before: float) -> list[bytes]:
    """Return keys of one step, oldest first, as long as space is wanted or they are too old."""
    found: list[bytes] = []
    size = 0
    for key, count, used in connection.execute("SELECT key, bytes, used FROM keys ORDER BY used"):
        if size > _STEP_BYTES or (size >= excess and used >= used_before):
            break
        found.append(key)
        size += count
    return found


def clear(folder: Path) -> None:
    """Remove all documents of a cache, or its files where they cannot be read.

    Files that can be read are emptied and not removed, because a process may be using them.

    Raises:
        ConfigurationError: There is no cache.
        OSError: The files cannot be removed.
        sqlite3.OperationalError: Another process holds the file.
    """
    if not (folder / FILE_NAME).is_file():
        raise ConfigurationError(f"{folder} holds no vector cache.")
    try:
        with closing(connect(folder)) as connection:
            shrink(connection, 0, used_before=float("inf"))
    except (ConfigurationError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        for path in folder.glob(f"{FILE_NAME}*"):
            path.unlink(missing_ok=True)


def contents(connection: sqlite3.Connection) -> CacheContents:
    """Return how much a cache holds."""
    count, oldest, newest = connection.execute(
        "SELECT count(*), min(used), max(used) FROM keys"
    ).fetchone()
    size = _number(connection, "page_count") * _number(connection, "page_size")
    return CacheContents(count, size, oldest, newest)


def _reason(folder: Path, error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return f"The vector cache cannot be used: {error.message.rstrip('.')}"
    return f"The vector cache in {folder} cannot be used ({error})"
