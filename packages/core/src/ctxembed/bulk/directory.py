"""A directory of vectors: where its parts lie, who may change it now, what a killed run left.

    ctxembed.json                       the manifest
    data/part-00017-of-00064.parquet    shards, and nothing else: other programs read all of it
    errors.jsonl                        documents that could not be embedded, of the last run
    lock                                empty; processes lock bytes of it
    tmp/<number>/                       files of the process that holds the byte of that number

A new shard is written in `tmp`, forced to disk and renamed into `data`. What a killed process left
in `tmp` is removed by the next one.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ctxembed.bulk.locks import Locks
from ctxembed.errors import ConfigurationError, InputError

MANIFEST = "ctxembed.json"
RESHARDED = "resharded"
"""The folder in which all shards lie anew, complete when it leaves `tmp`."""

_DIRECTORY, _MANIFEST = 0, 1
_FIRST_SHARD = 2
_FIRST_PROCESS = 2**40
_PART = re.compile(r"part-(\d{5,})-of-(\d{5,})\.parquet")
_OWN = {MANIFEST, "data", "errors.jsonl", "lock", "tmp"}


@dataclass(frozen=True, slots=True)
class Directory:
    """The places of a directory, whether it is there or not."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The file that says what the vectors were made with."""
        return self.root / MANIFEST

    @property
    def data(self) -> Path:
        """The folder of the shards."""
        return self.root / "data"

    @property
    def errors(self) -> Path:
        """The list of documents that could not be embedded."""
        return self.root / "errors.jsonl"

    def shard(self, number: int, shards: int) -> Path:
        """The file of one shard, where there are so many."""
        return self.data / part_name(number, shards)

    def shards(self) -> int | None:
        """Return how many shards there are by the names of the files, None where there is none."""
        found = {int(name[2]) for name in map(_PART.fullmatch, _names(self.data)) if name}
        if len(found) > 1:
            raise InputError(
                f"{self.data} holds shards of {sorted(found)}. Hint: these are files of several "
                "directories; leave one set there."
            )
        return found.pop() if found else None


@dataclass(frozen=True, slots=True)
class OpenDirectory(Directory):
    """A directory that this process works on; `tmp` is its own folder."""

    locks: Locks
    tmp: Path

    def take_shard(self, number: int, *, wait: bool) -> bool:
        """Lock a shard; without `wait`, return False where another process is at it."""
        return self.locks.take(_FIRST_SHARD + number, wait=wait)

    def release_shard(self, number: int) -> None:
        """Unlock a shard."""
        self.locks.release(_FIRST_SHARD + number)

    @contextmanager
    def manifest_lock(self) -> Iterator[None]:
        """Let one process at a time make the manifest."""
        self.locks.take(_MANIFEST, wait=True)
        try:
            yield
        finally:
            self.locks.release(_MANIFEST)


def part_name(number: int, shards: int) -> str:
    """Return the name of a shard's file."""
    return f"part-{number:05}-of-{shards:05}.parquet"


@contextmanager
def open_directory(root: Path, *, alone: bool = False) -> Iterator[OpenDirectory]:
    """Give a directory to work on, made where there is none; `alone`, no other process may.

    Raises:
        ConfigurationError: Another kind of folder is there, or another process is at work.
        OSError: It cannot be made or written.
    """
    check_root(root)
    root.mkdir(parents=True, exist_ok=True)
    with Locks(root / "lock") as locks:
        if not locks.take(_DIRECTORY, shared=not alone):
            other = "another run works" if alone else "--reshard is under way"
            raise ConfigurationError(f"{other} on {root}. Hint: run this again when it has ended.")
        process = _FIRST_PROCESS + secrets.randbelow(_FIRST_PROCESS)
        locks.take(process)  # before its folder is there, so that nobody removes that
        directory = OpenDirectory(root, locks, root / "tmp" / str(process))
        _finish_resharding(directory)
        _sweep(directory)
        directory.tmp.mkdir(parents=True)
        try:
            yield directory
        finally:
            _finish_resharding(directory)
            shutil.rmtree(directory.tmp, ignore_errors=True)
            _sweep(directory)


def check_root(root: Path) -> None:
    """Refuse what is there and no directory of vectors."""
    if not root.exists():
        return
    if not root.is_dir():
        raise ConfigurationError(f"{root} is a file. Hint: name a directory, or a .parquet file.")
    if not (root / MANIFEST).is_file() and ({*_names(root)} - _OWN or _names(root / "data")):
        raise ConfigurationError(
            f"{root} holds other files than vectors. Hint: name an empty directory, or a new one."
        )


def fsync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - names are all it takes


def _finish_resharding(directory: OpenDirectory) -> None:
    """Put the new shards in place where a process was killed between its two renames."""
    if directory.manifest.is_file() and not directory.data.is_dir():
        for each in directory.tmp.parent.glob(f"*/{RESHARDED}"):
            try:
                each.rename(directory.data)
            except OSError:
                if not directory.data.is_dir():  # another process may have done it
                    raise
        directory.data.mkdir(exist_ok=True)


def _sweep(directory: OpenDirectory) -> None:
    """Remove the folders of processes that are no more."""
    for name in _names(directory.tmp.parent):
        if name == directory.tmp.name or not name.isdecimal():
            continue
        if directory.locks.take(int(name)):
            shutil.rmtree(directory.tmp.parent / name, ignore_errors=True)
            directory.locks.release(int(name))
