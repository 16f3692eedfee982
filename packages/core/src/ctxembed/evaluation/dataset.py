"""Data sets: documents, and queries with the passages that answer them.

One comes with the package; others are folders with `docs.jsonl` and `queries.jsonl`, or either with
`.gz`. An `InputError` about a line names file and line, and never quotes the text.
"""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ctxembed.errors import ConfigurationError, InputError
from ctxembed.files.json_lines import check_new, numbered_lines, parse_object, string

OWN = Path(__file__).parent / "fairytale_val"
"""The data set that comes with the package; its README says where it is from."""

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


T = TypeVar("T", Document, Query)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Documents and queries; `source` says where they are from, and names the licence."""

    name: str
    source: str
    documents: tuple[Document, ...]
    queries: tuple[Query, ...]
    own: bool = False


def load_data(folder: Path | None = None) -> Dataset:
    """Return the data of a folder, without one the data set that comes with the package.

    Raises:
        ConfigurationError: the folder or one of its two files does not exist.
        InputError: a line cannot be used; the message names file and line.
    """
    path = OWN if folder is None else folder
    if not path.is_dir():
        raise ConfigurationError(
            f"{path} is not a folder. Hint: --data takes one with docs.jsonl and queries.jsonl."
        )
    documents = _read(_file(path, "docs.jsonl"), "document", _document)
    texts = {document.id: document.text for document in documents}
    queries = _read(_file(path, "queries.jsonl"), "query", lambda line: _query(line, texts))
    name = path.resolve().name
    source = _OWN_SOURCE if folder is None else f"your own data, {name}"
    return Dataset(name, source, documents, queries, own=folder is None)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ConfigurationError(
        f"{folder} has no {name} and no {name}.gz. Hint: the layout is in {OWN / 'README.md'}."
    )


def _read(path: Path, noun: str, parse: Callable[[dict[str, object]], T]) -> tuple[T, ...]:
    """Return what `parse` makes of each line; no two have the same id."""
    found: list[T] = []
    seen: dict[str, int] = {}
    for number, content in numbered_lines(_content(path).splitlines(keepends=True)):
        try:
            found.append(parse(parse_object(content)))
            check_new(found[-1].id, number, seen, noun)
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error.message}") from None
    if not found:
        raise InputError(f"{path}: has no line with anything on it.")
    return tuple(found)


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: is not a whole gzip file. Hint: compress it again.") from error


def _document(line: dict[str, object]) -> Document:
    title = string(line, "title", blank=True) if "title" in line else ""
    return Document(string(line, "doc_id"), title, string(line, "text"))


def _query(line: dict[str, object], texts: dict[str, str]) -> Query:
    document = string(line, "doc_id")
    query = Query(string(line, "query_id"), string(line, "query"), document, _spans(line))
    if document not in texts:
        raise InputError(f"doc_id {document!r} is not in the documents' file.")
    length = len(texts[document])
    if any(stop > length for _, stop in query.spans):
        raise InputError(f"a span goes beyond the {length} characters of {document!r}.")
    return query


def _spans(line: dict[str, object]) -> tuple[tuple[int, int], ...]:
    value = line.get("spans")
    if not isinstance(value, list) or not value or not all(map(_is_span, value)):
        raise InputError(
            '"spans" has to be [[start, end], ...], characters with start before end.'
        )
    return tuple((start, stop) for start, stop in value)


def _is_span(value: object) -> bool:
    match value:
        case [int(start), int(stop)]:
            return 0 <= start < stop and type(start) is type(stop) is int
    return False
