"""A file that takes another's place only when it is whole."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import BinaryIO, Self


class Replacement:
    """A new file beside `path`: `publish` puts it in place, leaving the block without removes it.

    Whatever stands at `path` stays as it is until then. A link is followed.
    """

    file: BinaryIO

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._part = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}.part")

    def __enter__(self) -> Self:
        try:
            self.file = self._part.open("xb")
        except OSError as error:
            error.filename = str(self._path)
            raise
        return self

    def publish(self) -> None:
        """Make sure that everything is on disk, and rename."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self._part.replace(self._path)

    def __exit__(self, *_: object) -> None:
        try:
            self.file.close()
        finally:
            self._part.unlink(missing_ok=True)
