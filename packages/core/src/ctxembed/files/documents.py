"""From lines of JSON to documents, each with the number of its line, or with what is wrong.

What is wrong with a chunk (empty, not a string, too long) is the embedder's to say.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ctxembed.errors import EmbedError, InputError

Split = Callable[[str], list[str]]

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
_SHORT = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """A line that gives no vectors, and why; never the text of a document."""

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
    """One line's document, or its failure and no chunks.

    `end` counts the bytes of the input up to the end of the line.
    """

    line: int
    end: int
    id: str = ""
    chunks: tuple[str, ...] | list[str] = ()
    failure: Failure | None = None


def failure(line: int, error: EmbedError, key: str | None = None) -> Failure:
    """Return the failure of a line from the error that says so."""
    return Failure(line, key or error.key, error.chunk, type(error).__name__, error.message)


def read_documents(lines: Iterable[bytes], split: Split) -> Iterator[Document]:
    """Yield what each line holds, in order; blank lines are passed over.

    An id that stood on an earlier line is a failure: the rows of the two could not be told apart.
    The ids are held in memory, about 200 bytes each.
    """
    seen: dict[str, int] = {}
    end = 0
    for number, line in enumerate(lines, 1):
        end += len(line)
        content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if not content.strip():
            continue
        try:
            key, chunks = parse_line(content, split)
            _check_first(key, number, seen)
        except InputError as error:
            yield Document(number, end, failure=failure(number, error))
        else:
            yield Document(number, end, key, chunks)


def _check_first(key: str, number: int, seen: dict[str, int]) -> None:
    first = seen.setdefault(key, number)
    if first != number:
        message = f"its id is on line {first} already. Hint: give each document its own."
        raise InputError(message, key=key)


def parse_line(line: bytes, split: Split) -> tuple[str, list[str]]:
    """Return id and chunks of a line, or raise `InputError`; other names on it are ignored."""
    value = _json(line)
    if not isinstance(value, dict):
        message = f'has to be an object with "id" and "chunks" or "text", got {_kind(value)}.'
        raise InputError(message)
    key = _id(value)
    try:
        return key, _chunks(value, split)
    except EmbedError as error:
        error.key = key
        raise


def _json(line: bytes) -> object:
    if line.startswith(_UTF_16):
        raise InputError("is UTF-16. Hint: save the file as UTF-8.")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 at byte {error.start}. Hint: save the file as UTF-8."
        raise InputError(message) from None
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error.msg} at column {error.colno}.") from None
    except (ValueError, RecursionError):
        message = "is JSON that can't be read: a number with too many digits, or nested too deep."
        raise InputError(message) from None
    return value


def _id(value: dict[str, object]) -> str:
    if "id" not in value:
        raise InputError('has no "id".')
    key = value["id"]
    if not isinstance(key, str):
        raise InputError(f'"id" has to be a string, got {_kind(key)}. Hint: put it in quotes.')
    if not key.strip():
        raise InputError('"id" is empty.')
    _check_unicode("id", key)
    return key


def _chunks(value: dict[str, object], split: Split) -> list[str]:
    if ("chunks" in value) == ("text" in value):
        which = 'both "chunks" and' if "chunks" in value else 'neither "chunks" nor'
        raise InputError(f'has {which} "text". Hint: give one of them.')
    if "chunks" in value:
        chunks = value["chunks"]
        if not isinstance(chunks, list):
            raise InputError(f'"chunks" has to be an array of strings, got {_kind(chunks)}.')
        return chunks
    text = value["text"]
    if not isinstance(text, str):
        raise InputError(f'"text" has to be a string, got {_kind(text)}.')
    if not text.strip():
        raise InputError('"text" is empty or only whitespace.')
    _check_unicode("text", text)
    return split(text)


def _check_unicode(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f'"{name}" has a lone surrogate at character {error.start}: no Unicode text.'
        raise InputError(message) from None


def _kind(value: object) -> str:
    return "null" if value is None else _NAMES.get(type(value), "a number")
