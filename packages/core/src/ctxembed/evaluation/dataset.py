"""Documents, and queries with the passages that answer them: the demo's own, or a folder of yours.

A folder holds `docs.jsonl` and `queries.jsonl`, or either with `.gz`. What is wrong with a line is
an `InputError` that names file and line, never the text.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctxembed.errors import ConfigurationError, InputError

OWN = Path(__file__).parent / "fairytale_val"
"""The data set that comes with the package; its README tells where it is from."""

_OWN_SOURCE = (
    "FairytaleQA, validation split: 23 tales from Project Gutenberg and questions by teachers, "
    "github.com/uci-soe/FairytaleQAData at a24ddc17, Apache-2.0"
)


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be cut into chunks."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """A question, the document that answers it, and where: `[start, stop)` in characters."""

    id: str
    text: str
    document: str
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Documents and queries; `source` says in words where they are from and their licence."""

    name: str
    source: str
    documents: tuple[Document, ...]
    queries: tuple[Query, ...]
    own: bool = False


def load_data(folder: Path | None = None) -> Dataset:
    """Return the data of a folder, without one the data set that comes with the package.

    Raises:
        ConfigurationError: the folder or one of its two files isn't there.
        InputError: a line can't be used; the message names file and line.
    """
    path = OWN if folder is None else folder
    if not path.is_dir():
        message = (
            f"{path} is not a folder. Hint: --data takes one with docs.jsonl and queries.jsonl."
        )
        raise ConfigurationError(message)
    documents = tuple(_documents(_file(path, "docs.jsonl")))
    texts = {document.id: document.text for document in documents}
    queries = tuple(_queries(_file(path, "queries.jsonl"), texts))
    source = (
        _OWN_SOURCE if folder is None else f"your own data, {path.name or path.resolve().name}"
    )
    return Dataset(path.resolve().name, source, documents, queries, own=folder is None)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    message = (
        f"{folder} has no {name} and no {name}.gz. Hint: the layout is in {OWN / 'README.md'}."
    )
    raise ConfigurationError(message)


def _documents(path: Path) -> Iterator[Document]:
    seen: set[str] = set()
    for place, line in _lines(path):
        document = Document(
            _string(line, "doc_id", place),
            _string(line, "title", place, blank=True) if "title" in line else "",
            _string(line, "text", place),
        )
        if document.id in seen:
            raise InputError(f"{place}: doc_id {document.id!r} stands on an earlier line already.")
        seen.add(document.id)
        yield document


def _queries(path: Path, texts: dict[str, str]) -> Iterator[Query]:
    seen: set[str] = set()
    for place, line in _lines(path):
        query = Query(
            _string(line, "query_id", place),
            _string(line, "query", place),
            _string(line, "doc_id", place),
            _spans(line, place),
        )
        if query.id in seen:
            raise InputError(f"{place}: query_id {query.id!r} stands on an earlier line already.")
        if query.document not in texts:
            raise InputError(f"{place}: doc_id {query.document!r} is not in the documents' file.")
        length = len(texts[query.document])
        if any(stop > length for _, stop in query.spans):
            message = f"{place}: a span goes beyond the {length} characters of {query.document!r}."
            raise InputError(message)
        seen.add(query.id)
        yield query


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line's object and its place in words; blank lines are passed over."""
    found = 0
    for number, content in enumerate(_read(path).splitlines(), 1):
        if not content.strip():
            continue
        place = f"{path}, line {number}"
        try:
            value = json.loads(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            message = f"{place}: is not UTF-8 at byte {error.start}. Hint: save the file as UTF-8."
            raise InputError(message) from None
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "a number or a nesting too long")
            raise InputError(f"{place}: is not JSON ({reason}).") from None
        if not isinstance(value, dict):
            raise InputError(f"{place}: has to be an object, got {type(value).__name__}.")
        found += 1
        yield place, value
    if not found:
        raise InputError(f"{path}: has no line with anything on it.")


def _read(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        message = f"{path}: is not a whole gzip file. Hint: compress it again."
        raise InputError(message) from error


def _string(line: dict[str, Any], name: str, place: str, *, blank: bool = False) -> str:
    value = line.get(name)
    if not isinstance(value, str):
        what = "has no" if name not in line else "needs a string as"
        raise InputError(f'{place}: {what} "{name}".')
    if not blank and not value.strip():
        raise InputError(f'{place}: "{name}" is empty or only whitespace.')
    try:
        value.encode()
    except UnicodeEncodeError:
        message = f'{place}: "{name}" has a lone surrogate: that is not Unicode text.'
        raise InputError(message) from None
    return value


def _spans(line: dict[str, Any], place: str) -> tuple[tuple[int, int], ...]:
    value = line.get("spans")
    if not isinstance(value, list) or not value or not all(map(_is_span, value)):
        message = (
            f'{place}: "spans" has to be [[start, end], ...], characters with start before end.'
        )
        raise InputError(message)
    return tuple((start, stop) for start, stop in value)


def _is_span(value: object) -> bool:
    match value:
        case [int(start), int(stop)]:
            return 0 <= start < stop and type(start) is type(stop) is int
    return False
