"""Locks on the bytes of one file: they belong to a process and end with it, however it ends.

A byte stands for a shard, for the directory or for a process. Nothing is ever written there.
"""

import errno
from pathlib import Path
from types import TracebackType
from typing import Self

from ctxembed.errors import ConfigurationError

_HELD = (errno.EACCES, errno.EAGAIN)


class Locks:
    """The locks that this process holds on a file; a context manager that lets go of all of them.

    They are POSIX record locks: a process has one object of this class for a file and opens the
    file nowhere else, because closing it anywhere lets go of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab+")

    def take(self, place: int, *, shared: bool = False, wait: bool = False) -> bool:
        """Lock a byte; without `wait`, return False where another process holds it.

        Raises:
            ConfigurationError: The system or the file system has no such locks.
        """
        try:
            import fcntl
        except ModuleNotFoundError as error:
            raise self._refusal("this system has no POSIX locks") from error
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.lockf(self._file, kind if wait else kind | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            if error.errno in _HELD:
                return False
            raise self._refusal(f"files there cannot be locked ({error.strerror})") from error
        return True

    def release(self, place: int) -> None:
        """Unlock a byte."""
        import fcntl

        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _refusal(self, reason: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._path.parent} cannot hold shards: {reason}, so that two runs could not be "
            "kept apart. Hint: a directory on a local disk, or a .parquet file as OUT."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()
