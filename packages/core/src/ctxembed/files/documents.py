"""Documents on lines of JSON, each with the number of its line, or what is wrong with the line.

What is wrong with a chunk (empty, not a string, too long) is left to the embedder.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ctxembed.documents import TokenizedChunk, has_text
from ctxembed.errors import EmbedError, InputError
from ctxembed.files.json_lines import check_new, kind, numbered_lines, parse_object, string

Chunks = Sequence[str | TokenizedChunk]
Split = Callable[[str], Chunks]
"""Cuts a text into chunks."""

_SHORT = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """A line that gives no vectors, and why; it never holds the text of a document."""

    line: int
    id: str | None
    chunk: int | None
    error: str
    reason: str

    def __str__(self) -> str:
        """Return line, id and chunk, and the reason."""
        key = self.id if self.id is None or len(self.id) <= _SHORT else f"{self.id[:_SHORT]}..."
        name = "" if key is None else f" (id {key!r})"
        chunk = "" if self.chunk is None else f", chunk {self.chunk}"
        return f"line {self.line}{name}{chunk}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Document:
    """The document of one line; it has no chunks where its "text" has no text."""

    line: int
    id: str
    chunks: Chunks

    @property
    def texts(self) -> list[str]:
        """The texts of the chunks."""
        return [each.text if isinstance(each, TokenizedChunk) else each for each in self.chunks]


def failure(line: int, error: EmbedError, key: str | None = None) -> Failure:
    """Return the failure of a line from the error that describes it."""
    return Failure(line, key or error.key, error.chunk, type(error).__name__, error.message)


def read_documents(lines: Iterable[bytes], split: Split) -> Iterator[Document | Failure]:
    """Yield the document of each line, or its failure, in order; blank lines are passed over.

    An id that an earlier line has is a failure: the rows of the two could not be told apart. The
    ids are held in memory, about 200 bytes each.
    """
    seen: dict[str, int] = {}
    for number, content in numbered_lines(lines):
        try:
            key, chunks = parse_document(line_object(content, first=number == 1), split)
            check_new(key, number, seen, "document")
        except InputError as error:
            yield failure(number, error)
        else:
            yield Document(number, key, chunks)


def parse_line(line: bytes, split: Split) -> tuple[str, Chunks]:
    """Return id and chunks of a line, or raise `InputError`; other names on it are ignored."""
    return parse_document(line_object(line), split)


def line_object(line: bytes, *, first: bool = False) -> dict[str, object]:
    """Return the object on the line of a document, or raise `InputError`.

    Where the `first` line is no object, the whole file is likely of another format.
    """
    try:
        return parse_object(line, 'an object with "id" and "chunks" or "text"')
    except InputError as error:
        if not first or "Hint" in error.message:
            raise
        way = convert_json() if line.lstrip()[:1] in (b"[", b"{") else convert_csv()
        hint = f"Hint: INPUT has one JSON object per line; convert another file with {way}"
        raise error.at(f"{error.message} {hint}") from error.__cause__


def convert_json(name: str = "FILE") -> str:
    """Return a command that turns an array, or an object on several lines, into lines."""
    return (
        "python -c 'import json, sys; given = json.load(sys.stdin); [print(json.dumps(each)) for "
        f"each in (given if isinstance(given, list) else [given])]' < {name} > documents.jsonl"
    )


def convert_csv(name: str = "FILE") -> str:
    """Return a command that turns CSV with a head into lines."""
    return (
        "python -c 'import csv, json, sys; [print(json.dumps(row)) for row in csv.DictReader("
        f"sys.stdin)]' < {name} > documents.jsonl"
    )


def parse_document(value: dict[str, object], split: Split) -> tuple[str, Chunks]:
    """Return id and chunks of the object on a line, or raise `InputError`."""
    key = string(value, "id")
    try:
        return key, _chunks(value, split)
    except EmbedError as error:
        raise error.at(key=key) from error.__cause__


def _chunks(value: dict[str, object], split: Split) -> Chunks:
    if ("chunks" in value) == ("text" in value):
        which = 'both "chunks" and' if "chunks" in value else 'neither "chunks" nor'
        raise InputError(f'has {which} "text". Hint: give one of them.')
    if "text" in value:
        text = string(value, "text", blank=True)
        return split(text) if has_text(text) else []
    chunks = value["chunks"]
    if not isinstance(chunks, list):
        raise InputError(f'"chunks" has to be an array of strings, got {kind(chunks)}.')
    if not chunks:
        raise InputError("has no chunks. Hint: leave it out of the call.")
    return chunks
