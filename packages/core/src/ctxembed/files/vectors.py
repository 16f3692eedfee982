"""Vectors to a file, document by document: Parquet with a row a chunk, or lines of JSON.

Parquet columns are `id`, `chunk_index`, `text` and `embedding`: a fixed-size list of int8 (int8,
binary) or float32 (float, normalized), or fixed-size bytes (ubinary). The schema's metadata is the
`Origin`. A line of JSON is `{"id": ..., "embeddings": [[...], ...]}`, ubinary as bytes 0 to 255.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

import numpy as np

from ctxembed.encoding import Array
from ctxembed.files.documents import Document
from ctxembed.files.origin import Origin
from ctxembed.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_BYTES = 8 * 2**20
_GROUP_ROWS = 16_384


class Writer(Protocol):
    """Takes documents in order; a context manager, whose end writes what is held."""

    def write(self, document: Document, rows: Array) -> None:
        """Take one document and its rows."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, /, *_: object) -> None: ...


class JsonlWriter:
    """Writes each document at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, document: Document, rows: Array) -> None:
        """Write one line."""
        line = json.dumps({"id": document.id, "embeddings": rows.tolist()}, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class ParquetWriter:
    """Writes a row group whenever enough rows have come, so that memory stays bounded."""

    def __init__(self, file: BinaryIO, origin: Origin) -> None:
        import pyarrow.parquet as pq

        self._schema = schema(origin)
        # int8 in plain Parquet takes four bytes; a dictionary of its 256 values brings it to one
        codes = [] if _is_float(origin.settings) else ["embedding.list.element"]
        self._file = pq.ParquetWriter(
            file, self._schema, compression="zstd", use_dictionary=["id", *codes]
        )
        self._held: list[tuple[Document, Array]] = []
        self._rows = self._bytes = 0

    def write(self, document: Document, rows: Array) -> None:
        """Take one document, and write a row group when enough is held."""
        self._held.append((document, rows))
        self._rows += len(rows)
        self._bytes += rows.nbytes + sum(map(len, document.chunks))
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._file.write_batch(record_batch(self._held, self._schema))
        self._held, self._rows, self._bytes = [], 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._held:
                self._flush()
        finally:
            self._file.close()


def schema(origin: Origin) -> pa.Schema:
    """Return the Arrow schema of vectors with this origin."""
    import pyarrow as pa

    settings, dimensions = origin.settings, origin.dimensions
    if settings.encoding == "ubinary":
        embedding = pa.binary(-(-dimensions // 8))
    else:
        number = pa.float32() if _is_float(settings) else pa.int8()
        embedding = pa.list_(pa.field("element", number, nullable=False), dimensions)
    columns = {
        "id": pa.string(),
        "chunk_index": pa.int32(),
        "text": pa.string(),
        "embedding": embedding,
    }
    fields = [pa.field(name, kind, nullable=False) for name, kind in columns.items()]
    return pa.schema(fields, metadata=origin.to_metadata())


def record_batch(documents: list[tuple[Document, Array]], schema: pa.Schema) -> pa.RecordBatch:
    """Return documents and their rows as one Arrow record batch."""
    import pyarrow as pa

    chunks = [
        (document.id, index, chunk)
        for document, _ in documents
        for index, chunk in enumerate(document.chunks)
    ]
    vectors = np.concatenate([rows for _, rows in documents])
    kind = schema.field("embedding").type
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(vectors.reshape(-1), kind.value_type)
        embeddings = pa.FixedSizeListArray.from_arrays(flat, type=kind)
    else:
        embeddings = pa.Array.from_buffers(kind, len(vectors), [None, pa.py_buffer(vectors)])
    columns = [
        pa.array(c, f.type) for c, f in zip(zip(*chunks, strict=True), schema, strict=False)
    ]
    return pa.record_batch([*columns, embeddings], schema=schema)


def _is_float(settings: Settings) -> bool:
    return settings.normalize or settings.encoding == "float"
