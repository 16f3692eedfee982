"""Inputs as lines of JSON, whatever they are: JSON lines, compressed or not, Parquet, text files.

What the lines hold is read in `documents`. A directory is searched, and a pattern that the shell
left as it is is expanded.
"""

import glob
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ctxembed.errors import ConfigurationError, InputError
from ctxembed.files.documents import convert_csv

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

STANDARD = Path("-")

Kind = Literal["lines", "compressed", "rows", "text"]
"""JSON lines as they are; compressed; the rows of a Parquet file; one text."""

_SUFFIXES: dict[str, Kind] = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".gz": "compressed",
    ".zst": "compressed",
    ".parquet": "rows",
    ".txt": "text",
    ".md": "text",
}
_ROWS_READ = 1024


@dataclass(frozen=True, slots=True)
class Input:
    """A file of documents, or standard input.

    `id` is that of a text, which has no other; `keep` are columns that are carried along.
    """

    path: Path
    kind: Kind
    id: str = ""
    keep: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it."""
        return "standard input" if self.path == STANDARD else str(self.path)

    @property
    def noun(self) -> str:
        """What its documents are counted by."""
        return {"rows": "row", "text": "file"}.get(self.kind, "line")

    @property
    def seekable(self) -> bool:
        """Whether it is itself a file of lines, which can be read at any place."""
        return self.kind == "lines" and self.path != STANDARD and self.path.is_file()

    @contextmanager
    def lines(self) -> Iterator[Iterable[bytes]]:
        """Give its documents as lines of JSON."""
        if self.path == STANDARD:
            yield sys.stdin.buffer
        elif self.kind == "compressed":
            yield from _decompressed(self.path)
        elif self.kind == "rows":
            yield from _opened_rows(self)
        elif self.kind == "text":
            yield [_text_line(self)]
        else:
            with self.path.open("rb") as file:
                yield file


def find_inputs(
    names: Sequence[str], keep: Sequence[str] = (), without: Path | None = None
) -> list[Input]:
    """Return the inputs that names, directories and patterns stand for, in order.

    Nothing below `without` is searched.

    Raises:
        ConfigurationError: A directory or pattern stands for nothing, a kind is not known.
        OSError: A file is not there.
    """
    found: list[Input] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found += _searched(path, without)
        elif glob.has_magic(name) and not path.exists():
            matches = [Path(each) for each in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 - a pattern may be absolute
            if not matches:
                raise ConfigurationError(f"{name} matches no file.")
            found += [each for match in matches for each in _of(match, without)]
        else:
            found.append(_named(path))
    return [Input(each.path, each.kind, each.id, tuple(keep)) for each in found]


def _of(path: Path, without: Path | None) -> list[Input]:
    return _searched(path, without) if path.is_dir() else [_named(path)]


def _named(path: Path) -> Input:
    if path.suffix.lower() == ".csv":
        raise ConfigurationError(
            f"{path} is CSV, and INPUT has one JSON object per line. Hint: convert it with "
            f"{convert_csv(str(path))}"
        )
    if path != STANDARD:
        path.stat()  # an absent file is said now
    return Input(path, _SUFFIXES.get(path.suffix.lower(), "lines"), path.as_posix())


def _searched(folder: Path, without: Path | None) -> list[Input]:
    """Return the files of documents below a directory, hidden ones left out."""
    if (folder / "ctxembed.json").is_file():
        raise ConfigurationError(f"{folder} holds vectors. Hint: name the documents as INPUT.")
    found = []
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        kind = _SUFFIXES.get(path.suffix.lower())
        hidden = any(part.startswith(".") for part in inner.parts)
        inside = without is not None and path.resolve().is_relative_to(without.resolve())
        if kind and path.is_file() and not hidden and not inside:
            found.append(Input(path, kind, inner.as_posix()))
    kinds = {each.kind == "text" for each in found}
    if not found:
        raise ConfigurationError(
            f"{folder} has no documents. Hint: {', '.join(_SUFFIXES)} are read."
        )
    if len(kinds) > 1:
        raise ConfigurationError(
            f"{folder} has texts (.txt, .md) beside files of documents. Hint: name one kind, as in "
            f"'{folder}/**/*.jsonl'."
        )
    return found


def _decompressed(path: Path) -> Iterator[Iterable[bytes]]:
    import pyarrow as pa

    from ctxembed.files.parquet import damage_named

    with (
        damage_named(f"{path} cannot be decompressed: it is damaged or cut off."),
        pa.input_stream(str(path), compression="detect") as stream,
    ):
        yield _whole_lines(stream)


def _whole_lines(stream: "pa.NativeFile") -> Iterator[bytes]:
    rest = b""
    while block := stream.read(2**20):
        *lines, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def _text_line(source: Input) -> bytes:
    try:
        text = source.path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source.path} is not UTF-8 at byte {error.start}. Hint: save the file as UTF-8."
        ) from None
    return _line({"id": source.id, "text": text})


def _opened_rows(source: Input) -> Iterator[Iterable[bytes]]:
    import pyarrow.parquet as pq

    from ctxembed.files.parquet import damage_named

    with (
        source.path.open("rb") as file,
        damage_named(f"{source.path} is not a Parquet file, or damaged."),
    ):
        yield _rows(pq.ParquetFile(file), source)


def _rows(stored: "pq.ParquetFile", source: Input) -> Iterator[bytes]:
    """Yield the rows of a Parquet file as lines; what is kept goes as strings."""
    names = stored.schema_arrow.names
    texts = [name for name in ("chunks", "text") if name in names]
    missing = [name for name in ("id", *source.keep) if name not in names]
    if missing or not texts:
        raise InputError(
            f"{source.path} has no column {(missing or ['chunks'])[0]!r}. Hint: a row is a "
            'document, with "id" and with "chunks" (a list of strings) or "text".'
        )
    columns = list(dict.fromkeys(["id", *texts, *source.keep]))
    for batch in stored.iter_batches(_ROWS_READ, columns=columns):
        told = {name: _plain(batch.column(name), as_text=name == "id") for name in ("id", *texts)}
        told |= {name: _plain(batch.column(name), as_text=True) for name in source.keep}
        for values in zip(*told.values(), strict=True):
            row = dict(zip(told, values, strict=True))
            yield _line({k: v for k, v in row.items() if v is not None or k not in texts})


def _plain(column: "pa.Array", *, as_text: bool) -> list[object]:
    """Return values as Python has them; `as_text`, numbers and times as strings."""
    import pyarrow as pa

    if as_text and not pa.types.is_nested(column.type) and not pa.types.is_binary(column.type):
        return list(column.cast(pa.string()).to_pylist())
    values = column.to_pylist()
    return [json.dumps(each, default=str) for each in values] if as_text else list(values)


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
