"""The index of the input: where each document lies, and hashes of its id and of its chunks.

Each document takes 60 bytes, whatever its size, in the order of shards. Inputs that cannot be read
at any place are copied, as lines of JSON, into the folder of the process.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ctxembed.bulk.documents import (
    NOTHING,
    FailedDocument,
    Source,
    Wanted,
    document_key,
    kept_text,
    siblings_of,
    source_line,
)
from ctxembed.documents import check_document
from ctxembed.encoding import Array
from ctxembed.errors import EmbedError, InputError
from ctxembed.files.documents import failure, line_object, parse_document
from ctxembed.files.inputs import Input
from ctxembed.files.json_lines import numbered_lines, string
from ctxembed.settings import EmptyChunks

_RECORD = struct.Struct(">16s16sQQIII")
_FIELDS = np.dtype(
    [
        ("key", [("high", ">u8"), ("low", ">u8")]),
        ("siblings", "u1", 16),
        ("kept", ">u8"),
        ("offset", ">u8"),
        ("length", ">u4"),
        ("source", ">u4"),
        ("line", ">u4"),
    ]
)


@dataclass(frozen=True, slots=True)
class Index:
    """The documents of the input by shard, and what was found on the way."""

    sources: list[Source]
    records: Array
    failed: list[FailedDocument] = field(default_factory=list)
    textless: int = 0
    kinds: dict[str, set[str]] = field(default_factory=dict)

    def sharded(self, shards: int) -> "ShardedIndex":
        """Return the documents in the order of so many shards, and of their keys in each."""
        keys = self.records["key"]
        numbers = (keys["high"] % shards).astype(np.int64)
        order = np.lexsort((keys["low"], keys["high"], numbers))
        starts = np.searchsorted(numbers[order], np.arange(shards + 1))
        return ShardedIndex(self.records[order], starts)


@dataclass(frozen=True, slots=True)
class ShardedIndex:
    """The documents of the input, shard after shard."""

    records: Array
    starts: Array

    def shard(self, number: int) -> list[Wanted]:
        """Return the documents of one shard in the order of their keys."""
        start, stop = self.starts[number : number + 2].tolist()
        return _wanted(self.records[start:stop])

    def save(self, path: Path) -> None:
        """Write what `load` reads, for other processes."""
        np.save(path, self.records)

    @classmethod
    def load(cls, path: Path, starts: Array) -> "ShardedIndex":
        """Return the index that is in a file, which is read where it is needed."""
        return cls(np.load(path, mmap_mode="r"), starts)


def build_index(
    inputs: Iterable[Input],
    folder: Path,
    *,
    keep: tuple[str, ...] = (),
    empty: EmptyChunks = "error",
    skip: bool = False,
) -> Index:
    """Read the whole input once, and return where its documents are.

    `folder` takes copies of inputs that cannot be read at any place.

    Raises:
        InputError: Without `skip`, the first document that no model could embed; an id that is
            there twice is named with both places.
    """
    builder = _Builder(folder, keep, empty)
    for each in inputs:
        builder.add(each)
        if builder.failed and not skip:
            raise InputError(str(builder.failed[0]))
    index = builder.index()
    if index.failed and not skip:
        raise InputError(str(index.failed[0]))
    return index


class _Builder:
    """Reads inputs one after the other."""

    def __init__(self, folder: Path, keep: tuple[str, ...], empty: EmptyChunks) -> None:
        self._folder, self._keep, self._empty = folder, keep, empty
        self._records = bytearray()
        self.sources: list[Source] = []
        self.failed: list[FailedDocument] = []
        self.textless = 0
        self.kinds: dict[str, set[str]] = {name: set() for name in keep}

    def add(self, source: Input) -> None:
        """Take all documents of an input."""
        number = len(self.sources)
        copied = self._folder / f"input-{number}.jsonl"
        self.sources.append(Source(source.path if source.seekable else copied, source))
        with ExitStack() as stack:
            lines = stack.enter_context(source.lines())
            if not source.seekable:
                lines = _copied(lines, stack.enter_context(copied.open("wb")))
            self._add_lines(lines, number)

    def _add_lines(self, lines: Iterable[bytes], source: int) -> None:
        end = 0

        def counted() -> Iterator[bytes]:
            nonlocal end
            for line in lines:
                end += len(line)
                yield line

        for line, content in numbered_lines(counted()):
            key, siblings, kept = self._document(content, source, line)
            if key is not None:
                start = end - len(content)
                self._records += _RECORD.pack(
                    key, siblings, kept, start, len(content), source, line
                )

    def _document(self, content: bytes, source: int, line: int) -> tuple[bytes | None, bytes, int]:
        """Return key, siblings and hash of what is kept; no key where the id cannot be read."""
        name = None
        try:
            value = line_object(content, first=line == 1)
            name, chunks = parse_document(value, _whole)
            if chunks:
                check_document(chunks, 0, self._empty)
        except EmbedError as error:
            name = name or error.key
            self.failed.append(FailedDocument(self.sources[source], failure(line, error, name)))
            return (None if name is None else document_key(name)), NOTHING, 0
        self.textless += not chunks
        return document_key(name), siblings_of(value) if chunks else NOTHING, self._kept(value)

    def _kept(self, value: dict[str, object]) -> int:
        if not self._keep:
            return 0
        for name in self._keep:
            self.kinds[name].add(type(value.get(name)).__name__)
        texts = [kept_text(value.get(name)) for name in self._keep]
        return int.from_bytes(blake2b(json.dumps(texts).encode(), digest_size=8).digest())

    def index(self) -> Index:
        """Return the index; of documents with one id, the first one."""
        records = np.frombuffer(self._records, _FIELDS)
        keys = records["key"]
        order = np.lexsort((keys["low"], keys["high"]))
        again = np.zeros(len(order), bool)
        again[1:] = keys[order[1:]] == keys[order[:-1]]
        first = order[np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))]
        later = order[again]
        for at, other in sorted(zip(later.tolist(), first[again].tolist(), strict=True)):
            self.failed.append(self._duplicate(*_wanted(records[[at, other]])))
        records = np.delete(records, later)
        return Index(self.sources, records, self.failed, self.textless, self.kinds)

    def _duplicate(self, again: Wanted, first: Wanted) -> FailedDocument:
        source = self.sources[first.source]
        name = string(line_object(source_line(source, first)), "id")
        other = self.sources[again.source]
        where = "" if other is source else f" of {source.input.name}"
        error = InputError(
            f"its id is on {source.input.noun} {first.line}{where} already. Hint: give each "
            "document its own."
        )
        return FailedDocument(other, failure(again.line, error, name))


def _whole(text: str) -> list[str]:
    return [text]


def _wanted(records: Array) -> list[Wanted]:
    return [Wanted(*values) for values in _RECORD.iter_unpack(records.tobytes())]


def _copied(lines: Iterable[bytes], file: BinaryIO) -> Iterator[bytes]:
    for line in lines:
        file.write(line)
        yield line
