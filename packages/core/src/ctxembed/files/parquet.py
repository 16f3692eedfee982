"""Vectors in Parquet files, one row per chunk: written document by document, read batch by batch.

The columns are `id`, `chunk_index`, `text` and `embedding`: a fixed-size list of int8 (int8,
binary) or float32 (float, normalized), or fixed-size bytes (ubinary). The schema's metadata is the
`Origin`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ctxembed.encoding import Array
from ctxembed.errors import InputError
from ctxembed.files.documents import Document
from ctxembed.files.origin import Origin
from ctxembed.files.vectors import Writer
from ctxembed.settings import Settings

_GROUP_BYTES = 8 * 2**20
_GROUP_ROWS = 16_384
_ROWS_READ = 4096
_COLUMNS = {"id": pa.string(), "chunk_index": pa.int32(), "text": pa.string()}


class ParquetWriter(Writer):
    """Writes a row group whenever enough rows have come, so that memory stays bounded."""

    def __init__(self, file: BinaryIO, origin: Origin) -> None:
        self._schema = schema(origin)
        self._file = pq.ParquetWriter(file, self._schema, **write_options(origin))
        self._held: list[tuple[Document, Array]] = []
        self._rows = self._bytes = 0

    def write(self, document: Document, rows: Array) -> None:
        """Take one document, and write a row group when enough is held."""
        if not document.chunks:
            return
        self._held.append((document, rows))
        self._rows += len(rows)
        self._bytes += rows.nbytes + sum(map(len, document.texts))
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._file.write_batch(record_batch(self._held, self._schema))
        self._held, self._rows, self._bytes = [], 0, 0

    def __exit__(self, kind: type[BaseException] | None, /, *_: object) -> None:
        """Write what is held, unless an error ends the block, and close the file."""
        try:
            if kind is None and self._held:
                self._flush()
        finally:
            self._file.close()


def write_options(origin: Origin) -> dict[str, Any]:
    """Return how a table of vectors is written: compressed, ids and codes as dictionaries."""
    # int8 in plain Parquet takes four bytes; a dictionary of its 256 values brings it to one
    codes = [] if _is_float(origin.settings) else ["embedding.list.element"]
    return {"compression": "zstd", "use_dictionary": ["id", *codes]}


def schema(origin: Origin) -> pa.Schema:
    """Return the Arrow schema of vectors with this origin."""
    settings, dimensions = origin.settings, origin.dimensions
    if settings.encoding == "ubinary":
        embedding = pa.binary(-(-dimensions // 8))
    else:
        number = pa.float32() if _is_float(settings) else pa.int8()
        embedding = pa.list_(pa.field("element", number, nullable=False), dimensions)
    columns = _COLUMNS | {"embedding": embedding}
    fields = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pa.schema(fields, metadata=origin.to_metadata())


def record_batch(documents: list[tuple[Document, Array]], schema: pa.Schema) -> pa.RecordBatch:
    """Return documents and their rows as one Arrow record batch."""
    chunks = [
        (document.id, index, text)
        for document, _ in documents
        for index, text in enumerate(document.texts)
    ]
    columns = zip(zip(*chunks, strict=True), _COLUMNS.values(), strict=True)
    arrays = [pa.array(column, kind) for column, kind in columns]
    vectors = np.concatenate([rows for _, rows in documents])
    kind = schema.field("embedding").type
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(vectors.reshape(-1), kind.value_type)
        embeddings = pa.FixedSizeListArray.from_arrays(flat, type=kind)
    else:
        embeddings = pa.Array.from_buffers(kind, len(vectors), [None, pa.py_buffer(vectors)])
    return pa.record_batch([*arrays, embeddings], schema=schema)


def _is_float(settings: Settings) -> bool:
    return settings.normalize or settings.encoding == "float"


@contextmanager
def damage_named(message: str) -> Iterator[None]:
    """Raise an `InputError` with this message where Arrow cannot read a file.

    Arrow says so with an `OSError` too, which then has no number of the system's.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputError(message) from error


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows; `vectors` has shape (rows, numbers or bytes per vector)."""

    ids: list[str]
    indexes: list[int]
    texts: list[str]
    vectors: Array


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """An open file of vectors."""

    path: Path
    origin: Origin
    file: pq.ParquetFile

    def rows(self) -> Iterator[Rows]:
        """Yield all rows in order, a few thousand at a time."""
        wanted = schema(self.origin)
        with damage_named(
            f"{self.path} is damaged, or was written by another program with columns of other "
            "types. Hint: embed again."
        ):
            for batch in self.file.iter_batches(_ROWS_READ, columns=wanted.names):
                # another program may have written lists of any length, or numbers as ids
                table = pa.Table.from_batches([batch]).cast(wanted)
                ids, indexes, texts = (table[name].to_pylist() for name in _COLUMNS)
                yield Rows(ids, indexes, texts, _array(table["embedding"].combine_chunks()))


@contextmanager
def open_vectors(path: Path) -> Iterator[StoredVectors]:
    """Open a file that a `ParquetWriter` wrote.

    Raises:
        InputError: the file is another kind of file, or names no origin.
        OSError: it cannot be opened.
    """
    with path.open("rb") as raw:
        try:
            file = pq.ParquetFile(raw)
        except pa.ArrowException as error:
            raise InputError(
                f"{path} is not a Parquet file, or damaged. Hint: only the .parquet output of "
                "`ctxembed embed` can be searched."
            ) from error
        try:
            origin = Origin.from_metadata(file.schema_arrow.metadata or {})
        except InputError as error:
            raise error.at(f"{path} {error.message}") from error.__cause__
        for name in (*_COLUMNS, "embedding"):
            if name not in file.schema_arrow.names:
                raise InputError(f"{path} has no column {name!r}. Hint: embed again.")
        yield StoredVectors(path, origin, file)


def _array(column: pa.Array) -> Array:
    if pa.types.is_fixed_size_list(column.type):
        flat: Array = column.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(column), column.type.list_size)
    width = column.type.byte_width
    flat = np.frombuffer(column.buffers()[1], np.uint8)
    return flat[column.offset * width :][: len(column) * width].reshape(len(column), width)
