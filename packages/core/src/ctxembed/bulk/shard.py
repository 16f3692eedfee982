"""A shard: one Parquet file with the rows of some documents, in the order of their keys.

Beside the columns of `files.parquet` it has `siblings`, the hash of a document's chunks, and the
columns that are carried along. Its metadata names what it was made with, and hashes of what was
carried along. Which documents it should hold is decided in `changes`.
"""

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ctxembed.bulk.directory import OpenDirectory, fsync_folder
from ctxembed.bulk.documents import document_key
from ctxembed.bulk.index import Index
from ctxembed.bulk.manifest import Manifest
from ctxembed.encoding import Array
from ctxembed.errors import InputError
from ctxembed.files.documents import Document
from ctxembed.files.parquet import damage_named, record_batch, schema, write_options

_MADE_WITH = b"ctxembed.made_with"
_KEPT = b"ctxembed.kept"
_GROUP_ROWS = 16_384
_SIBLINGS = pa.field("siblings", pa.binary(16), nullable=False)


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document of a shard: id, hash of its chunks, hash of what is kept, and its rows."""

    id: str
    siblings: bytes
    kept: int
    start: int
    stop: int


Listing = dict[bytes, StoredDocument]
"""The documents of a shard by their keys."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document that goes into a shard.

    `rows` are its own, or `start` to `stop` say which rows of the shard before it has. `values` are
    those that are kept, None where they are what they were.
    """

    id: str
    siblings: bytes
    kept: int
    start: int = 0
    stop: int = 0
    values: Sequence[str | None] | None = None
    made: tuple[Document, Array] | None = None

    @classmethod
    def as_it_was(cls, stored: StoredDocument) -> Self:
        """Return a document of the shard before, unchanged."""
        return cls(stored.id, stored.siblings, stored.kept, stored.start, stored.stop)


def kept_types(keep: Sequence[str], index: Index) -> dict[str, str]:
    """Return the types of the columns that are carried along: by Parquet, or by the values."""
    rows = next((source.input for source in index.sources if source.input.kind == "rows"), None)
    if rows is not None:
        found = pq.read_schema(rows.path)
        return {name: _kept_type(found.field(name).type) for name in keep}
    types = {frozenset({"bool"}): "bool", frozenset({"int"}): "int64"}
    types |= {frozenset(each): "double" for each in ({"float"}, {"int", "float"})}
    return {
        name: types.get(frozenset(index.kinds[name] - {"NoneType"}), "string") for name in keep
    }


def _kept_type(kind: pa.DataType) -> str:
    """Return the name of a type that values of another one are cast to, by way of strings."""
    tests = {
        "bool": pa.types.is_boolean,
        "int64": pa.types.is_integer,
        "double": pa.types.is_floating,
        "date32[day]": pa.types.is_date32,
        "timestamp[us]": lambda each: pa.types.is_timestamp(each) and each.tz is None,
    }
    return next((name for name, test in tests.items() if test(kind)), "string")


def shard_schema(manifest: Manifest) -> pa.Schema:
    """Return the schema of every shard of a directory."""
    plain = schema(manifest.origin)
    kept = [pa.field(name, pa.type_for_alias(kind)) for name, kind in manifest.keep.items()]
    metadata = {**plain.metadata, _MADE_WITH: manifest.fingerprint.encode()}
    return pa.schema([*plain, _SIBLINGS, *kept], metadata=metadata)


def read_listing(path: Path, manifest: Manifest) -> Listing | None:
    """Return the documents of a shard, None where there is no file.

    Raises:
        InputError: The file is damaged, or was made with something else.
    """
    try:
        with _opened(path) as file:
            check_shard(path, file.schema_arrow, manifest)
            table = file.read(["id", "chunk_index", _SIBLINGS.name])
    except FileNotFoundError:
        return None
    firsts = np.flatnonzero(table["chunk_index"].to_numpy() == 0)
    ids = table["id"].take(firsts).to_pylist()
    siblings = table[_SIBLINGS.name].take(firsts).to_pylist()
    stops = [*firsts.tolist(), len(table)][1:]
    hashes = base64.b64decode(file.schema_arrow.metadata.get(_KEPT, b""))
    kept = np.frombuffer(hashes, ">u8").tolist() or [0] * len(ids)
    rows = zip(ids, siblings, kept, firsts.tolist(), stops, strict=True)
    return {document_key(row[0]): StoredDocument(*row) for row in rows}


def check_shard(path: Path, found: pa.Schema, manifest: Manifest) -> None:
    """Refuse a file that was made with something else, or that another program wrote."""
    made_with = (found.metadata or {}).get(_MADE_WITH, b"").decode(errors="replace")
    if made_with != manifest.fingerprint:
        raise InputError(
            f"{path} is not of this directory: it names {made_with or 'nothing'} as what it was "
            f"made with, and the manifest {manifest.fingerprint}. Hint: remove the file, and embed "
            "again."
        )


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    with (
        path.open("rb") as raw,
        damage_named(f"{path} is damaged. Hint: remove the file, and embed again."),
    ):
        yield pq.ParquetFile(raw, page_checksum_verification=True)


def write_shard(
    directory: OpenDirectory,
    path: Path,
    documents: Sequence[NewDocument],
    manifest: Manifest,
    before: Path | None = None,
) -> None:
    """Put a shard with these documents in the place of the one that is there.

    `before` has the rows that are taken over; without it they are those of the shard itself.

    Raises:
        InputError: The rows of the shard before cannot be read; a kept value has another type.
        OSError: It cannot be written; the error names the file, and the old shard stays.
    """
    table = _table(before or path, documents, manifest)
    new = directory.tmp / path.name
    try:
        with new.open("wb") as file:
            write_table(table, file, manifest)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        fsync_folder(path.parent)
    except OSError as error:
        error.filename = str(path)
        raise


def write_table(table: pa.Table, file: object, manifest: Manifest) -> None:
    """Write the rows of a shard; pages have checksums, so that damage is noticed."""
    options = write_options(manifest.origin)
    options["use_dictionary"].append(_SIBLINGS.name)
    pq.write_table(table, file, row_group_size=_GROUP_ROWS, write_page_checksum=True, **options)


def read_table(path: Path, manifest: Manifest) -> pa.Table:
    """Return all rows of a shard; none where there is no file."""
    wanted = shard_schema(manifest)
    try:
        with _opened(path) as file:
            return file.read(wanted.names).cast(wanted)
    except FileNotFoundError:
        return wanted.empty_table()


def _table(path: Path, documents: Sequence[NewDocument], manifest: Manifest) -> pa.Table:
    """Return the rows of documents, those that the shard had before as they were."""
    wanted = shard_schema(manifest)
    plain = schema(manifest.origin)
    old = read_table(path, manifest)
    made = [document.made for document in documents if document.made is not None]
    parts = [old.select(plain.names).cast(plain)]
    if made:
        parts.append(pa.Table.from_batches([record_batch(made, plain)]))
    spans, end = [], len(old)
    for document in documents:
        if document.made is None:
            spans.append((document.start, document.stop))
        else:
            spans.append((end, end := end + len(document.made[1])))
    takes = [np.arange(*span) for span in spans]
    rows = pa.concat_tables(parts).take(np.concatenate([np.arange(0), *takes]))
    columns = {
        "id": pa.array([each.id for each in documents], pa.string()),
        _SIBLINGS.name: pa.array([each.siblings for each in documents], _SIBLINGS.type),
        **{name: _kept(documents, number, old[name]) for number, name in enumerate(manifest.keep)},
    }
    numbers = np.repeat(np.arange(len(documents)), [len(take) for take in takes])
    columns = {name: column.take(numbers) for name, column in columns.items()}
    columns = dict(zip(plain.names, rows.columns, strict=True)) | columns
    metadata = wanted.metadata
    if manifest.keep:
        hashes = np.array([each.kept for each in documents], ">u8").tobytes()
        metadata = {**metadata, _KEPT: base64.b64encode(hashes)}
    return pa.table(
        [columns[name] for name in wanted.names], schema=wanted.with_metadata(metadata)
    )


def _kept(documents: Sequence[NewDocument], number: int, old: pa.ChunkedArray) -> pa.Array:
    """Return one value per document of a column that is carried along."""
    given = [None if each.values is None else each.values[number] for each in documents]
    try:
        new = pa.array(given, pa.string()).cast(old.type)
    except pa.ArrowException as error:
        raise InputError(
            f"a value to keep is no {old.type}, as it was when the directory was made. Hint: give "
            "the column one type, or embed into a new directory."
        ) from error
    starts = [each.start if each.values is None else None for each in documents]
    before = old.take(pa.array(starts, pa.int64())).combine_chunks()
    return pc.if_else([each.values is None for each in documents], before, new)
