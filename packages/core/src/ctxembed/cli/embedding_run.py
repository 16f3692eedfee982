"""The run of `ctxembed embed`, from lines to vectors, without files and options."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from ctxembed.assembly import Outcome
from ctxembed.documents import TokenizedChunk
from ctxembed.embedder import Embedder
from ctxembed.encoding import Array
from ctxembed.errors import AuthenticationError, ConfigurationError, EmbedError, InputError
from ctxembed.files.documents import Document, Failure, Split, failure, read_documents
from ctxembed.files.vectors import Writer
from ctxembed.progress import Progress, Watch


@dataclass(slots=True)
class Summary:
    """What was written and what was not; `tokens` as the model read them.

    `textless` names the documents whose "text" has none: they are written without vectors.
    `cached` counts the documents that the model did not read: see `Usage.cached_documents`.
    """

    documents: int = 0
    textless: list[str] = field(default_factory=list)
    chunks: int = 0
    failed: int = 0
    tokens: int = 0
    cached: int = 0
    seconds: float = 0.0


def refuse_text(_: str) -> list[str]:
    """Split no text: for lines that hold chunks."""
    raise InputError('has "text" where "chunks" are expected.')


def embed_lines(
    embedder: Embedder,
    lines: Iterable[bytes],
    writer: Writer,
    *,
    split: Split = refuse_text,
    skip: Callable[[Failure], None] | None = None,
    source: str = "input",
    watch: Callable[[Progress, int], None] = lambda *_: None,
) -> Summary:
    """Embed the documents on lines of JSON and write them in order, holding a bounded number.

    A line that cannot be embedded is given to `skip`. `watch` is called when lines were read and
    when a batch has come, with how far the run is and the bytes of input read.

    Raises:
        InputError: there is no `skip`, and a line is bad; the message names `source` and the line.
        EmbedError: all lines fail for the same reason (settings, a key).
    """
    summary = Summary()
    start, before = perf_counter(), embedder.usage
    read = 0

    def counted() -> Iterator[bytes]:
        nonlocal read
        for line in lines:
            read += len(line)
            yield line

    def watched(progress: Progress) -> None:
        watch(progress, read)

    with closing(_results(embedder, counted(), split, watched, stop=skip is None)) as results:
        for result in results:
            if not isinstance(result, Failure):
                document, rows = result
                writer.write(document, rows)
                summary.documents += 1
                summary.chunks += len(rows)
                if not document.chunks:
                    summary.textless.append(f"line {document.line} (id {document.id!r})")
            elif skip is None:
                told = f"{source}, {result}"
                hint = "" if " Hint: " in told else " Hint:"
                raise InputError(f"{told}{hint} --errors skip leaves such lines out.")
            else:
                summary.failed += 1
                skip(result)
    summary.tokens = embedder.usage.tokens - before.tokens
    summary.cached = embedder.usage.cached_documents - before.cached_documents
    summary.seconds = perf_counter() - start
    return summary


def _results(
    embedder: Embedder,
    lines: Iterable[bytes],
    split: Split,
    watch: Watch,
    *,
    stop: bool,
) -> Generator[tuple[Document, Array] | Failure]:
    """Yield each line's document and rows, or its failure, in the order of the lines.

    With `stop` nothing is read after a line that is no document; those before it still come.
    """
    waiting: deque[Document | Failure] = deque()

    def documents() -> Iterator[Sequence[str | TokenizedChunk] | EmbedError]:
        for each in read_documents(lines, split):
            waiting.append(each)
            chunks = each.chunks if isinstance(each, Document) else ()
            yield chunks or InputError("has no chunks.")
            if stop and isinstance(each, Failure):
                return

    stream = embedder.stream(documents(), errors="return", watch=watch)
    with closing(stream) as outcomes:
        for outcome in outcomes:
            yield _result(waiting.popleft(), outcome)


def _result(each: Document | Failure, outcome: Outcome) -> tuple[Document, Array] | Failure:
    """Return what becomes of a line; what is no fault of its document is raised."""
    if isinstance(each, Failure):
        return each
    if not each.chunks:
        return each, np.zeros((0, 0))
    if isinstance(outcome, InputError):
        return failure(each.line, outcome, each.id)
    if isinstance(outcome, ConfigurationError | AuthenticationError):
        raise outcome
    if isinstance(outcome, EmbedError):
        raise outcome.at(document=None, chunk=None, key=each.id) from outcome.__cause__
    return each, outcome
