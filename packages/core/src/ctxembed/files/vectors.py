"""Writers of vectors, document by document: what they share, and the one for lines of JSON.

A line is `{"id": ..., "embeddings": [[...], ...]}`, ubinary as bytes 0 to 255. The writer for
Parquet is in `parquet`.
"""

import json
from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import BinaryIO

from ctxembed.encoding import Array
from ctxembed.files.documents import Document


class Writer(AbstractContextManager["Writer"]):
    """Takes documents in order; a context manager, whose end writes what is held."""

    @abstractmethod
    def write(self, document: Document, rows: Array) -> None:
        """Take one document and its rows, shape (chunks, numbers or bytes per vector).

        A document without chunks has an empty array.
        """


class JsonlWriter(Writer):
    """Writes each document at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, document: Document, rows: Array) -> None:
        """Write one line."""
        line = json.dumps({"id": document.id, "embeddings": rows.tolist()}, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        """Hold nothing, so that nothing is left to write."""
