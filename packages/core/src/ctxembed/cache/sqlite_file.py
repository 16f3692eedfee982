"""The SQLite file of a folder of cached vectors: made, opened, read, written, made smaller.

Write-ahead logging lets processes read while one of them writes, and a process that is killed
leaves the file whole. What becomes of the errors of SQLite is decided in `sqlite_cache`.
"""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ctxembed.errors import ConfigurationError

FILE_NAME = "vectors.sqlite"

SECONDS_FOR_A_LOCK = 5.0
"""How long a process waits for another one that writes."""

SECONDS_BETWEEN_USES = 3600.0
"""A use is noted when the last one is older than this: reading writes nothing most of the time."""

_STEP_BYTES = 64 * 2**20
"""Entries are removed in steps of this size, so that other processes wait a short time only."""

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


@dataclass(frozen=True, slots=True)
class CacheContents:
    """What a cache holds: documents, bytes of the file, and seconds since the epoch of uses."""

    documents: int
    file_bytes: int
    oldest_use: float | None
    newest_use: float | None


def connect(folder: Path) -> sqlite3.Connection:
    """Return a connection to the cache of a folder, where there is one.

    Raises:
        ConfigurationError: The file is not a cache of this version.
        OSError: The folder cannot be made or written.
        sqlite3.Error: The file is damaged, locked, or the file system cannot lock files.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise _no_cache(folder)
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
        path, timeout=SECONDS_FOR_A_LOCK, isolation_level=None, check_same_thread=False
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


def read(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return what is kept under those of the keys that are there, and note that it was used."""
    found: dict[bytes, bytes] = {}
    stale: list[bytes] = []
    now = time.time()
    for key in keys:
        row = connection.execute(
            "SELECT used, data FROM keys JOIN entries USING (id) WHERE key = ?", (key,)
        ).fetchone()
        if row is not None:
            found[key] = row[1]
            if now - row[0] > SECONDS_BETWEEN_USES:
                stale.append(key)
    if stale:
        with _transaction(connection):
            connection.executemany(
                "UPDATE keys SET used = ? WHERE key = ?", [(now, key) for key in stale]
            )
    return found


def write(connection: sqlite3.Connection, entries: Mapping[bytes, bytes]) -> None:
    """Keep the entries, all of them or none, in the place of older ones with the same keys."""
    now = time.time()
    insert = "INSERT INTO entries (data) VALUES (?)"
    with _transaction(connection):
        for key, data in entries.items():
            _delete(connection, [key])
            number = connection.execute(insert, (data,)).lastrowid
            connection.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?)", (key, number, len(data), now)
            )


def _delete(connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    each = [(key,) for key in keys]
    connection.executemany(
        "DELETE FROM entries WHERE id = (SELECT id FROM keys WHERE key = ?)", each
    )
    connection.executemany("DELETE FROM keys WHERE key = ?", each)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the file without its free pages."""
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
            excess = 0 if most_bytes is None else used_bytes(connection) - most_bytes
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
        ConfigurationError: There is no cache, or the file is a database of another program.
        OSError: The files cannot be removed.
        sqlite3.OperationalError: Another process holds the file.
    """
    if not (folder / FILE_NAME).is_file():
        raise _no_cache(folder)
    try:
        with closing(connect(folder)) as connection:
            shrink(connection, 0, used_before=float("inf"))
    except (ConfigurationError, sqlite3.DatabaseError) as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        if _is_foreign(folder / FILE_NAME):
            raise ConfigurationError(
                f"{folder / FILE_NAME} is a database of another program. Hint: remove it by hand "
                "where nobody needs it."
            ) from error
        for end in ("", "-wal", "-shm", "-journal"):
            (folder / f"{FILE_NAME}{end}").unlink(missing_ok=True)


def _is_foreign(path: Path) -> bool:
    """Tell whether a file can be read by SQLite, and was made by another program."""
    try:
        with closing(_connection(path)) as connection:
            return _number(connection, "application_id") != _APPLICATION
    except sqlite3.DatabaseError:
        return False


def contents(connection: sqlite3.Connection) -> CacheContents:
    """Return how much a cache holds."""
    count, oldest, newest = connection.execute(
        "SELECT count(*), min(used), max(used) FROM keys"
    ).fetchone()
    size = _number(connection, "page_count") * _number(connection, "page_size")
    return CacheContents(count, size, oldest, newest)


def _no_cache(folder: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} holds no vector cache. Hint: name the folder that `cache` names; the first "
        "document makes the file in it."
    )
