"""Reading the Parquet files of `ctxembed embed`: their origin, and their rows batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctxembed.encoding import Array
from ctxembed.errors import InputError
from ctxembed.files.origin import Origin

_ROWS = 4096
_COLUMNS = ["id", "chunk_index", "text", "embedding"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows; `vectors` has shape (rows, numbers or bytes a vector)."""

    ids: list[str]
    indexes: list[int]
    texts: list[str]
    vectors: Array


@dataclass(frozen=True, slots=True)
class Stored:
    """An open file of vectors."""

    origin: Origin
    file: pq.ParquetFile

    def rows(self) -> Iterator[Rows]:
        """Yield all rows in order, a few thousand at a time."""
        for batch in self.file.iter_batches(_ROWS, columns=_COLUMNS):
            ids, indexes, texts = (batch.column(name).to_pylist() for name in _COLUMNS[:3])
            yield Rows(ids, indexes, texts, _vectors(batch.column("embedding")))


@contextmanager
def open_stored(path: Path) -> Iterator[Stored]:
    """Open a file; `InputError` where it isn't one of ours, `OSError` where it isn't there."""
    with path.open("rb") as raw:
        try:
            file = pq.ParquetFile(raw)
        except pa.ArrowException as error:
            message = (
                f"{path} is not a Parquet file, or damaged. Hint: only the .parquet output of "
                "`ctxembed embed` can be searched."
            )
            raise InputError(message) from error
        try:
            origin = Origin.from_metadata(file.schema_arrow.metadata or {})
        except InputError as error:
            raise InputError(f"{path} {error.message}") from error.__cause__
        missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise InputError(f"{path} has no column {missing[0]!r}. Hint: embed again.")
        yield Stored(origin, file)


def _vectors(column: pa.Array) -> Array:
    if pa.types.is_fixed_size_list(column.type):
        flat: Array = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), column.type.list_size)
    width = column.type.byte_width
    flat = np.frombuffer(column.buffers()[1], np.uint8)
    return flat[column.offset * width :][: len(column) * width].reshape(len(column), width)
