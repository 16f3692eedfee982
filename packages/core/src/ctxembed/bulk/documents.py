"""A document of the input: what the index knows of it, what was read, and why it gives no rows.

Its key is a hash of its id. Its siblings are a hash of its chunks, or of the text that they are cut
from: rows with the same siblings are the same.
"""

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import cast

from ctxembed.documents import check_document, sibling_fingerprint
from ctxembed.errors import InputError
from ctxembed.files.documents import Chunks, Failure, Split, line_object, parse_document
from ctxembed.files.inputs import Input

NOTHING = bytes(16)
"""Stands for the chunks of a document that has no rows: without text, or with an error."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of lines in which documents lie, and the input that they are from."""

    path: Path
    input: Input

    def place(self, failure: Failure) -> str:
        """Return the file, what is counted there, and the reason."""
        told = str(failure).replace("line", self.input.noun, 1)
        return f"{self.input.name}, {told}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document of the input: its key, a hash of its chunks and of what is kept, its place."""

    key: bytes
    siblings: bytes
    kept: int
    offset: int
    length: int
    source: int
    line: int


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document as it was read: id, chunks, and the whole object of its line."""

    id: str
    chunks: Chunks
    value: dict[str, object]


@dataclass(frozen=True, slots=True)
class FailedDocument:
    """A document of the input that gives no rows, and why."""

    source: Source
    failure: Failure

    def __str__(self) -> str:
        return self.source.place(self.failure)

    def to_json(self) -> str:
        """Return the line that stands for it in `errors.jsonl`."""
        failed = self.failure
        values = {
            "file": self.source.input.name,
            self.source.input.noun: failed.line,
            "id": failed.id,
            "chunk": failed.chunk,
            "error": failed.error,
            "reason": failed.reason,
        }
        return json.dumps(values)


def document_key(name: str) -> bytes:
    """Return the hash of an id, which decides its shard: the same in all processes and versions."""
    return blake2b(name.encode(), digest_size=16).digest()


def shard_of(key: bytes, shards: int) -> int:
    """Return the shard of a document, given its key."""
    return int.from_bytes(key[:8]) % shards


def read_document(source: Source, wanted: Wanted, split: Split) -> ReadDocument:
    """Return a document of the index.

    Raises:
        InputError: The file is not any more what it was when the index was made.
    """
    try:
        value = line_object(source_line(source, wanted))
        key, chunks = parse_document(value, split)
        check_document(chunks, 0, "zero")
        if document_key(key) == wanted.key and siblings_of(value) == wanted.siblings:
            return ReadDocument(key, chunks, value)
    except InputError:
        pass
    raise InputError(f"{source.input.name} changed while it was read. Hint: run this again.")


def kept_text(value: object) -> str | None:
    """Return a kept value as a string, None where there is none."""
    return value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True)


def siblings_of(value: dict[str, object]) -> bytes:
    """Return the hash of a document's chunks, or of the text that they are cut from."""
    if "text" in value:
        return blake2b(str(value["text"]).encode(), digest_size=16, person=b"text").digest()
    chunks = cast(list[str], value["chunks"])
    return bytes.fromhex(sibling_fingerprint(chunks))


def source_line(source: Source, wanted: Wanted) -> bytes:
    """Return the line of a document."""
    with source.path.open("rb") as file:
        file.seek(wanted.offset)
        return file.read(wanted.length)
