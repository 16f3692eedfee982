"""`ctxembed cache`: what a folder of cached vectors holds, and how it gets smaller."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection, DatabaseError, OperationalError
from typing import Annotated, TypeVar

import typer

from ctxembed.cache.sqlite_file import clear as clear_folder
from ctxembed.cache.sqlite_file import connect, contents, shrink
from ctxembed.cli.command_group import Group
from ctxembed.cli.plurals import counted
from ctxembed.errors import ConfigurationError

T = TypeVar("T")
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the cache.")]

_SECONDS_PER_DAY = 86_400

cache = typer.Typer(cls=Group, no_args_is_help=True)


@cache.command()
def info(folder: Folder) -> None:
    """Show how many documents a cache has, its size, and when they were last used."""
    found = _with(folder, contents)
    print(f"documents\t{found.documents:,}")
    print(f"bytes\t{found.file_bytes:,}")
    for name, used in (("oldest use", found.oldest_use), ("newest use", found.newest_use)):
        if used is not None:
            print(f"{name}\t{time.strftime('%Y-%m-%d %H:%M', time.localtime(used))}")


@cache.command()
def clear(folder: Folder) -> None:
    """Remove all vectors of a cache, also where its file is damaged or of another version."""
    with _said(folder):
        clear_folder(folder)
    print(f"{folder} is empty")


@cache.command()
def prune(
    folder: Folder,
    *,
    most_bytes: Annotated[
        int | None,
        typer.Option("--bytes", min=0, help="Largest size that the cache may keep, in bytes."),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(min=0, help="Documents that were not used for so many days go."),
    ] = None,
) -> None:
    """Remove the documents of a cache that were used least recently."""
    if most_bytes is None and days is None:
        raise ConfigurationError("name what may stay. Hint: --bytes 1000000000, or --days 30.")
    before = 0.0 if days is None else time.time() - days * _SECONDS_PER_DAY
    gone = _with(folder, lambda found: shrink(found, most_bytes, used_before=before))
    print(f"{counted(gone, 'document')} removed")


def _with(folder: Path, action: Callable[[Connection], T]) -> T:
    with _said(folder), closing(connect(folder)) as connection:
        return action(connection)


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    """Turn an error of SQLite or of the file system into one that says what to do."""
    try:
        yield
    except (OperationalError, OSError) as error:
        raise ConfigurationError(
            f"the vector cache in {folder} cannot be used now ({error}). Hint: run this again when "
            "no other process writes to it, and check that you may write there."
        ) from error
    except DatabaseError as error:
        raise ConfigurationError(
            f"the vector cache in {folder} cannot be read ({error}). "
            f"Hint: ctxembed cache clear {folder}"
        ) from error
