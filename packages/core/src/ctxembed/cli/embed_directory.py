"""`ctxembed embed` into a directory of shards: progress and summary around `embed_directory`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from ctxembed.bulk.resharding import reshard_directory
from ctxembed.bulk.run import Options, Report, embed_directory
from ctxembed.cli.error_reports import SOME_SKIPPED
from ctxembed.cli.plurals import counted
from ctxembed.cli.progress import shown, watch_documents
from ctxembed.errors import InputError
from ctxembed.files.inputs import find_inputs
from ctxembed.progress import Progress, Watch
from ctxembed.settings import Settings


def embed_into(
    root: Path,
    sources: Sequence[str],
    settings: Settings,
    options: Options,
    *,
    reshard: bool = False,
    progress: bool | None = None,
) -> None:
    """Bring a directory up to date with inputs, and say what was done."""
    inputs = find_inputs(sources, options.keep, without=root)
    if reshard:
        before, after = reshard_directory(root)
        print(f"{counted(before, 'shard')} became {after:,}", file=sys.stderr)

    @contextmanager
    def watching(documents: int) -> Iterator[Watch]:
        with watch_documents(size=documents, **shown(progress)) as watch:

            def watched(found: Progress) -> None:
                watch(found, found.taken)

            yield watched

    report = embed_directory(inputs, root, settings, options, watching)
    _report(report, root)
    if report.failed:
        listed = root / "errors.jsonl"
        print(f"skipped {counted(len(report.failed), 'document')}, see {listed}", file=sys.stderr)
        if not report.documents:
            raise InputError(f"no document could be embedded, see {listed}.")
        raise typer.Exit(SOME_SKIPPED)


def _report(report: Report, root: Path) -> None:
    changes, done = report.changes, report.done
    reused = changes.new + changes.changed - changes.embedded
    rate = done.tokens / max(report.seconds, 1e-9)
    parts = [
        f"{counted(done.documents - done.cached, 'document')} embedded",
        counted(done.chunks, "chunk"),
        f"{counted(done.tokens, 'token')} read in {report.seconds:.1f} s ({rate:,.0f} tokens/s)",
        *([f"{done.cached:,} not read again"] if done.cached else []),
        *([f"{reused:,} from rows that were here already"] if reused else []),
        f"{changes.same:,} as they were",
        *([f"{changes.removed:,} removed"] if changes.removed else []),
        *([f"{report.textless:,} without text"] if report.textless else []),
    ]
    print(", ".join(parts), file=sys.stderr)
    print(
        f"{root}: {counted(report.documents, 'document')} in {counted(report.shards, 'shard')}",
        file=sys.stderr,
    )
    if report.outgrown:
        print(
            f"note: a shard holds more than 8 times the {report.shard_documents:,} documents that "
            "it was made for. Hint: --reshard spreads them over more, without embedding.",
            file=sys.stderr,
        )
