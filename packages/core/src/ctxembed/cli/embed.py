"""`ctxembed embed`: the options, files and summary around `embed_lines`."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ctxembed.cli.embedding_run import Summary, embed_lines
from ctxembed.cli.error_reports import SOME_SKIPPED, as_options
from ctxembed.cli.options import with_settings
from ctxembed.cli.plurals import counted
from ctxembed.cli.progress import watch_documents
from ctxembed.embedder import Embedder
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.files.documents import Failure, Split
from ctxembed.files.origin import Origin
from ctxembed.files.replacement import Replacement, check_replaceable
from ctxembed.files.vectors import JsonlWriter, Writer
from ctxembed.settings import Settings

STANDARD = Path("-")
_SUFFIXES = (".parquet", ".jsonl")
_NAMED = 5


@with_settings()
def embed(
    settings: Settings,
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="A file of JSON lines, or - for standard input."),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="OUT", help=".parquet or .jsonl; - is standard output."
        ),
    ] = STANDARD,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help='The most tokens per chunk, where a line has "text"; without it 256, or a quarter '
            "of a shorter window.",
        ),
    ] = None,
    errors: Annotated[
        str,
        typer.Option(
            metavar="raise|skip",
            rich_help_panel="Bad input",
            help="raise stops at the first bad line and writes nothing; skip writes the others.",
        ),
    ] = "raise",
    progress: Annotated[
        bool | None,
        typer.Option(
            help="Show a bar; by default on a terminal. Where standard error is none, a line about "
            "every half minute, unless --no-progress is given."
        ),
    ] = None,
) -> None:
    """Embed documents, each chunk with the other chunks of its document in view.

    INPUT has one document per line: {"id": "a", "chunks": ["one", "two"]}, or
    {"id": "a", "text": "..."}, which is split at sentences; an empty text gives no vectors. The id
    is a string, and each document has its own. Other names on a line are ignored, and so are blank
    lines.

    A .parquet file has one row per chunk (id, chunk_index, text, embedding) and names the settings,
    so that `ctxembed search` can use it. A .jsonl file has one document per line, as {"id",
    "embeddings"}. OUT appears when it is complete. Until then, and when anything fails, an older
    file of that name stays as it is.

    With --errors skip, lines that no model could embed are listed in OUT.errors.jsonl
    (ctxembed.errors.jsonl for standard output) with line number, id and reason. A failing model,
    key or network ends the run all the same.

    Exit codes: 0 everything was written, 1 some lines were skipped, 2 the command stopped or no
    line could be used.
    """
    if errors not in ("raise", "skip"):
        raise ConfigurationError(f"errors is 'raise' or 'skip', got {errors!r}.")
    skipped = Path("ctxembed.errors.jsonl" if out == STANDARD else f"{out}.errors.jsonl")
    _check_paths(source, out, skipped, errors)
    _check_zero_rows(settings)
    terminal = sys.stderr.isatty()
    alone = terminal and not (out == STANDARD and sys.stdout.isatty())
    bar = alone if progress is None else progress
    with (
        _opened(source) as (lines, size),
        Embedder.open(settings) as embedder,
        Replacement(skipped) if errors == "skip" else nullcontext() as log,
        _output(out, embedder) as writer,
        watch_documents(bar=bar, lines=not terminal and progress is not False, size=size) as watch,
    ):
        summary = embed_lines(
            embedder,
            lines,
            writer,
            split=_splitter(embedder, chunk_tokens),
            skip=_logger(log.file) if log else None,
            source=_name(source),
            watch=watch,
        )
        if log and summary.failed:
            log.publish()
            print(f"skipped {counted(summary.failed, 'line')}, see {skipped}", file=sys.stderr)
        if not summary.documents:
            reason = "no line could be embedded" if summary.failed else "there are no documents"
            raise InputError(f"{_name(source)}: {reason}; nothing was written.")
    listed = log is not None or out != STANDARD
    if listed and not summary.failed and os.path.lexists(skipped):  # no error for a name too long
        skipped.unlink()  # from an earlier run
    _report(summary)


def _check_paths(source: Path, out: Path, skipped: Path, errors: str) -> None:
    """Refuse what cannot be written, and what would be written or removed over the input."""
    written = []
    if out != STANDARD:
        if out.suffix not in _SUFFIXES:
            raise ConfigurationError(f"{out}: the name has to end in {' or '.join(_SUFFIXES)}.")
        written.append(out)
    if errors == "skip":
        written.append(skipped)
    for path in written:
        check_replaceable(path)
    for path in {*written, skipped} if written else ():
        # `Path.exists` raises for a name that is too long
        there = os.path.exists(path)  # noqa: PTH110
        if source != STANDARD and there and path.samefile(source):
            raise ConfigurationError(f"{path} would take the place of the input.")


def _check_zero_rows(settings: Settings) -> None:
    if settings.encoding == "ubinary" and settings.empty == "zero":
        raise ConfigurationError(
            "a zero row in packed bits looks like the vector of a text, so --empty zero cannot be "
            "used with --encoding ubinary. Hint: --encoding int8 or binary, or leave --empty out."
        )


@contextmanager
def _opened(source: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """Give the lines of the input, and its size in bytes where it has one."""
    if source == STANDARD:
        yield sys.stdin.buffer, None
        return
    with source.open("rb") as file:
        yield file, source.stat().st_size if source.is_file() else None


def _splitter(embedder: Embedder, chunk_tokens: int | None) -> Split:
    """Return a function that splits texts into chunks, tokenised as the embedder reads them."""
    from ctxembed.splitting import splitter
    from ctxembed.windows import usual_chunk_tokens

    most = chunk_tokens or usual_chunk_tokens(embedder.settings, embedder.backend.spec)
    split = splitter(embedder.backend.tokenize, most)
    return lambda text: [piece.chunk for piece in split(text)]


def _logger(file: BinaryIO) -> Callable[[Failure], None]:
    def skip(failure: Failure) -> None:
        record = asdict(failure) | {"reason": as_options(failure.reason)}
        file.write(json.dumps(record).encode() + b"\n")

    return skip


@contextmanager
def _output(out: Path, embedder: Embedder) -> Iterator[Writer]:
    """Give a writer to standard output, or to a file that appears when the block ends well."""
    if out == STANDARD:
        yield JsonlWriter(sys.stdout.buffer)
        return
    with Replacement(out) as new:
        if out.suffix == ".jsonl":
            yield JsonlWriter(new.file)
        else:
            from ctxembed.files.parquet import ParquetWriter

            origin = Origin.of(embedder.settings, embedder.fingerprint, embedder.dimensions)
            with ParquetWriter(new.file, origin) as writer:
                yield writer
        new.publish()


def _report(summary: Summary) -> None:
    rate = summary.tokens / max(summary.seconds, 1e-9)
    print(
        f"{counted(summary.documents, 'document')}, {counted(summary.chunks, 'chunk')}, "
        f"{counted(summary.tokens, 'token')} read in {summary.seconds:.1f} s "
        f"({rate:,.0f} tokens/s)",
        *([f"{counted(summary.cached, 'document')} not read again"] if summary.cached else []),
        sep=", ",
        file=sys.stderr,
    )
    if summary.textless:
        named = summary.textless[:_NAMED]
        more = len(summary.textless) - len(named)
        print(
            f"{counted(len(summary.textless), 'document')} without text, and without vectors: "
            f"{', '.join(named)}{f' and {more:,} more' if more else ''}",
            file=sys.stderr,
        )
    if summary.failed:
        raise typer.Exit(SOME_SKIPPED)


def _name(source: Path) -> str:
    return "standard input" if source == STANDARD else str(source)
