"""Collections from files: our own layout, folders as BEIR and MTEB have them, and text files.

An `InputError` about a line names file and line, and never quotes the text.
"""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ctxembed.documents import has_text
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.evaluation.collection import Collection, Document, Query, Span
from ctxembed.files.json_lines import check_new, numbered_lines, parse_object, string

OWN = Path(__file__).parent / "fairytale_val"
"""The collection that comes with the package; its README says where it is from."""

_OWN_SOURCE = (
    "FairytaleQA, validation split: 23 tales from Project Gutenberg and questions by teachers, "
    "github.com/uci-soe/FairytaleQAData at a24ddc17, Apache-2.0"
)

T = TypeVar("T", Document, Query)


def load_collection(path: Path | None = None) -> Collection:
    """Return the collection of a folder or file, without one that which comes with the package.

    A folder has `docs.jsonl` (lines of "doc_id" or "id", "title", "text") and maybe `queries.jsonl`
    ("query_id" or "id", "query", "doc_id", "spans"); or it is laid out as BEIR's are, with
    `corpus.jsonl`, `queries.jsonl` and `qrels/*.tsv`; or it has files of text, `.txt` and `.md`,
    each of which is a document. Each `.jsonl` may be compressed, as `.jsonl.gz`. A file has the
    lines of `docs.jsonl`.

    Raises:
        ConfigurationError: the path does not exist, or has no documents.
        InputError: a line or file cannot be used.
    """
    if path is None:
        return replace(load_collection(OWN), source=_OWN_SOURCE, own=True)
    name = path.resolve().name
    source = f"your own data, {name}"
    if path.is_file():
        return Collection(name=path.stem, source=source, documents=_documents(path))
    if not path.is_dir():
        raise ConfigurationError(
            f"{path} is not a folder or a file. Hint: name a folder with docs.jsonl and "
            "queries.jsonl, one in BEIR's layout, or one of .txt and .md files."
        )
    if docs := _find(path, "docs.jsonl"):
        documents = _documents(docs)
        queries = _find(path, "queries.jsonl")
        asked = load_queries(queries, documents) if queries else ()
        return Collection(name=name, source=source, documents=documents, queries=asked)
    if corpus := _find(path, "corpus.jsonl"):
        documents = _read(corpus, "document", _beir_document)
        labelled = _beir_queries(path, documents)
        return Collection(
            name=name, source=source, documents=documents, queries=labelled, whole=True
        )
    return Collection(name=name, source=source, documents=_text_files(path))


def load_queries(path: Path, documents: tuple[Document, ...]) -> tuple[Query, ...]:
    """Return the labelled queries of a file of JSON lines about these documents.

    Raises:
        InputError: a line cannot be used; the message names file and line.
    """
    texts = {document.id: document.text for document in documents}
    return _read(path, "query", lambda line: _query(line, texts))


def need_queries(collection: Collection, path: Path) -> Collection:
    """Return a collection that has queries, or raise `ConfigurationError`."""
    if not collection.queries:
        raise ConfigurationError(
            f"{path} has no queries.jsonl and no queries.jsonl.gz. Hint: `ctxembed evaluate` can "
            "simulate queries."
        )
    return collection


def _find(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def _documents(path: Path) -> tuple[Document, ...]:
    return _read(path, "document", _document)


def _read(path: Path, noun: str, parse: Callable[[dict[str, object]], T]) -> tuple[T, ...]:
    """Return what `parse` makes of each line; no two have the same id."""
    found: list[T] = []
    seen: dict[str, int] = {}
    for number, content in numbered_lines(_content(path).splitlines(keepends=True)):
        try:
            found.append(parse(parse_object(content)))
            check_new(found[-1].id, number, seen, noun)
        except InputError as error:
            raise _at_line(path, number, error.message) from None
    if not found:
        raise InputError(f"{path}: has no line with anything on it.")
    return tuple(found)


def _at_line(path: Path, number: int, reason: str) -> InputError:
    return InputError(f"{path}, line {number}: {reason}")


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: is not a whole gzip file. Hint: compress it again.") from error


def _id(line: dict[str, object], name: str) -> str:
    """Return the id under its long name, or under "id", as `ctxembed embed` has it."""
    return string(line, "id" if name not in line and "id" in line else name)


def _title(line: dict[str, object]) -> str:
    return string(line, "title", blank=True) if "title" in line else ""


def _document(line: dict[str, object]) -> Document:
    return Document(_id(line, "doc_id"), _title(line), string(line, "text"))


def _query(line: dict[str, object], texts: dict[str, str]) -> Query:
    document = string(line, "doc_id")
    key, text, spans = _id(line, "query_id"), string(line, "query"), _spans(line)
    if document not in texts:
        raise InputError(f"doc_id {document!r} is not in the documents' file.")
    length = len(texts[document])
    if any(stop > length for _, stop in spans):
        raise InputError(f"a span goes beyond the {length} characters of {document!r}.")
    return Query(key, text, {document: spans})


def _spans(line: dict[str, object]) -> tuple[Span, ...]:
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


def _beir_document(line: dict[str, object]) -> Document:
    title, text = _title(line), string(line, "text", blank=True)
    if not has_text(text):
        text = string(line, "title")  # BEIR has documents that are a title alone
    return Document(string(line, "_id"), title, text)


def _beir_queries(folder: Path, documents: tuple[Document, ...]) -> tuple[Query, ...]:
    """Return the queries that `qrels/*.tsv` has answers to: those of `test.tsv`, where it is there.

    A score above 0 makes a document an answer, the whole of it.
    """
    path = _find(folder, "queries.jsonl")
    tables = sorted(folder.glob("qrels/*.tsv"))
    if path is None or not tables:
        return ()
    tables = [each for each in tables if each.name == "test.tsv"] or tables
    asked = _read(path, "query", lambda line: Query(string(line, "_id"), string(line, "text"), {}))
    lengths = {document.id: len(document.text) for document in documents}
    answers: dict[str, dict[str, tuple[Span, ...]]] = {query.id: {} for query in asked}
    for table in tables:
        for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
            cells = line.split("\t")
            if not line.strip() or (number == 1 and cells[-1].strip() == "score"):
                continue
            query, document, relevant = _judgement(table, number, cells)
            if query not in answers:
                raise _at_line(table, number, f"query {query!r} is not in {path.name}.")
            if document not in lengths:
                raise _at_line(table, number, f"document {document!r} is not in the corpus.")
            if relevant:
                answers[query][document] = ((0, lengths[document]),)
    return tuple(replace(each, answers=answers[each.id]) for each in asked if answers[each.id])


def _judgement(table: Path, number: int, cells: list[str]) -> tuple[str, str, bool]:
    """Return query, document and whether that answers it: the three cells of a line of qrels."""
    try:
        query, document, score = cells
        return query, document, int(score) > 0
    except ValueError:
        reason = "has to be query-id, corpus-id and a whole number, with tabs between them."
        raise _at_line(table, number, reason) from None


def _text_files(folder: Path) -> tuple[Document, ...]:
    """Return a document for each `.txt` and `.md` below a folder that has text; hidden ones not."""
    documents = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() not in (".txt", ".md") or hidden or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: is not UTF-8 at byte {error.start}. Hint: save the file as UTF-8."
            ) from None
        if has_text(text):
            documents.append(Document(name.as_posix(), path.stem, text))
    if not documents:
        raise ConfigurationError(
            f"{folder} has no docs.jsonl, no corpus.jsonl, and no .txt or .md file with text. "
            "Hint: name a folder that has documents."
        )
    return tuple(documents)
