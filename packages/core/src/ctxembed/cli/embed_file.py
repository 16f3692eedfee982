"""`ctxembed embed` into one file: files and summary around `embed_lines`."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import typer

from ctxembed.cli.embedding_run import Summary, embed_lines
from ctxembed.cli.error_reports import SOME_SKIPPED, as_options
from ctxembed.cli.plurals import counted
from ctxembed.cli.progress import shown, watch_documents
from ctxembed.embedder import Embedder
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.files.documents import Failure
from ctxembed.files.inputs import STANDARD, Input, find_inputs
from ctxembed.files.origin import Origin
from ctxembed.files.replacement import Replacement, check_replaceable
from ctxembed.files.vectors import JsonlWriter, Writer
from ctxembed.settings import Settings

_NAMED = 5


def embed_file(
    settings: Settings,
    source: Input,
    out: Path,
    *,
    chunk_tokens: int | None = None,
    skip: bool = False,
    progress: bool | None = None,
) -> None:
    """Embed the documents of one input into one file, which appears when it is complete."""
    from ctxembed.splitting import chunker
    from ctxembed.windows import usual_chunk_tokens

    skipped = Path("ctxembed.errors.jsonl" if out == STANDARD else f"{out}.errors.jsonl")
    _check_paths(source.path, out, skipped, skip=skip)
    size = source.path.stat().st_size if source.seekable else None
    with (
        source.lines() as lines,
        Embedder.open(settings) as embedder,
        Replacement(skipped) if skip else nullcontext() as log,
        _output(out, embedder) as writer,
        watch_documents(size=size, **shown(progress, beside_output=out == STANDARD)) as watch,
    ):
        most = chunk_tokens or usual_chunk_tokens(embedder.settings, embedder.backend.spec)
        summary = embed_lines(
            embedder,
            lines,
            writer,
            split=chunker(embedder.backend.tokenize, most),
            skip=_logger(log.file) if log else None,
            source=source.name,
            watch=watch,
        )
        if log and summary.failed:
            log.publish()
            print(f"skipped {counted(summary.failed, 'line')}, see {skipped}", file=sys.stderr)
        if not summary.documents:
            reason = "no line could be embedded" if summary.failed else "there are no documents"
            raise InputError(f"{source.name}: {reason}; nothing was written.")
    listed = log is not None or out != STANDARD
    if listed and not summary.failed and os.path.lexists(skipped):  # no error for a name too long
        skipped.unlink()  # from an earlier run
    _report(summary)


def only_input(sources: Sequence[str]) -> Input:
    """Return the one input of a file, or say what takes several."""
    found = [] if any(Path(each).is_dir() for each in sources) else find_inputs(sources)
    if len(found) != 1:
        reason = f"{len(found):,} files" if found else "Is a directory"
        raise ConfigurationError(
            f"{' '.join(sources)}: {reason}, and a file as OUT takes one INPUT that is a file. "
            "Hint: -o vectors/ takes any number, and directories."
        )
    return found[0]


def _check_paths(source: Path, out: Path, skipped: Path, *, skip: bool) -> None:
    """Refuse what cannot be written, and what would be written or removed over the input."""
    written = []
    if out != STANDARD:
        written.append(out)
    if skip:
        written.append(skipped)
    for path in written:
        check_replaceable(path)
    for path in {*written, skipped} if written else ():
        # `Path.exists` raises for a name that is too long
        there = os.path.exists(path)  # noqa: PTH110
        if source != STANDARD and there and path.samefile(source):
            raise ConfigurationError(f"{path} would take the place of the input.")


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
