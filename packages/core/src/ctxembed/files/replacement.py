"""The replacement of a file: it takes the place of the old one only when it is complete."""

import errno
import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

from ctxembed.errors import ConfigurationError

if sys.platform != "win32":
    import fcntl

T = TypeVar("T")

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Replacement:
    """A new file beside `path`: `publish` puts it in place, else the end of the block removes it.

    A file at `path` stays as it is until then, and its permissions go to the new file. A link is
    followed; what is no regular file is refused. What killed processes left in the folder goes:
    each new file is locked, and a lock ends with its process.
    """

    file: BinaryIO

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()

    def __enter__(self) -> Self:
        mode = check_replaceable(self._path)
        _remove_abandoned(self._path.parent)
        try:
            self._create(mode)
        except OSError as error:
            error.filename = str(self._path)
            raise
        return self

    def _create(self, mode: int | None) -> None:
        """Open a new file and lock it; another one where it was taken for abandoned before."""
        while True:
            # not made from the file's name, which may be as long as names can be
            self._part = self._path.with_name(f".ctxembed-{secrets.token_hex(8)}.part")
            self.file = _create(self._part, mode)
            try:
                _lock(self.file)
                if self._part.exists():
                    return
            except BlockingIOError:
                pass  # another process is about to remove it
            except OSError:
                return  # there are no locks, so nothing is taken for abandoned
            self.file.close()

    def publish(self) -> None:
        """Make sure that everything is on disk, and rename."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if sys.platform == "win32":
            self.file.close()  # no open file is renamed there
        self._part.replace(self._path)  # while it is locked, so that nobody removes it
        self.file.close()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            self.file.close()
        except OSError as failed:
            raise self._named(failed) from None
        finally:
            self._part.unlink(missing_ok=True)
        self._named(error)

    def _named(self, error: T) -> T:
        """Name the file in an error that says that there is no room for it."""
        if isinstance(error, OSError) and error.filename is None and error.errno in _NO_ROOM:
            error.filename = str(self._path)
        return error


def _remove_abandoned(folder: Path) -> None:
    """Remove the new files of processes that were killed."""
    for path in folder.glob(".ctxembed-*.part"):
        with suppress(OSError), path.open("r+b") as file:
            _lock(file)
            path.unlink()


def _lock(file: BinaryIO) -> None:
    """Lock a file as long as it is open, or raise `OSError`."""
    if sys.platform == "win32":
        raise OSError
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_replaceable(path: Path) -> int | None:
    """Return the permissions of the file at `path`, None where there is none.

    Raises:
        ConfigurationError: a folder, a pipe or a device is there, or the folder is missing.
        OSError: the system takes no such name.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.parent.is_dir():
            return None
        raise ConfigurationError(
            f"{path} cannot be written: there is no folder {path.parent}. Hint: create it."
        ) from None
    if stat.S_ISDIR(mode):
        raise ConfigurationError(f"{path} is a folder. Hint: name a file.")
    if not stat.S_ISREG(mode):
        raise ConfigurationError(f"{path} is no regular file. Hint: name another file.")
    return stat.S_IMODE(mode) & 0o777


def _create(path: Path, mode: int | None) -> BinaryIO:
    """Open a new file. At no time can more people read it than the old one."""
    if mode is None or sys.platform == "win32":
        return path.open("xb")
    # pathlib takes no opener
    file = open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode))  # noqa: SIM115
    with suppress(PermissionError):  # some file systems have no permissions
        os.fchmod(file.fileno(), mode)  # what the umask took
    return file
