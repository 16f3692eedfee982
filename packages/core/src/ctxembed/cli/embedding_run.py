"""From lines to vectors: the whole of `ctxembed embed`, without files and options."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from time import perf_counter

from ctxembed.embedder import Embedder
from ctxembed.encoding import Array
from ctxembed.errors import AuthenticationError, ConfigurationError, EmbedError, InputError
from ctxembed.files.documents import Document, Failure, Split, failure, read_documents
from ctxembed.files.vectors import Writer


@dataclass(slots=True)
class Summary:
    """What was written and what was not; `tokens` as the model read them."""

    documents: int = 0
    chunks: int = 0
    failed: int = 0
    tokens: int = 0
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
    written: Callable[[Document], None] = lambda _: None,
) -> Summary:
    """Embed the documents on lines of JSON and write them in order, holding a bounded number.

    A line that can't be embedded is given to `skip`; without it the first such line raises an
    `InputError` that names `source` and the line. `written` is called after each document. What
    fails for every line (settings, a key) raises in either case.
    """
    summary = Summary()
    start, before = perf_counter(), embedder.usage.tokens
    with closing(_results(embedder, lines, split, stop=skip is None)) as results:
        for document, result in results:
            if not isinstance(result, Failure):
                writer.write(document, result)
                summary.documents += 1
                summary.chunks += len(result)
                written(document)
            elif skip is None:
                raise InputError(f"{source}, {result}")
            else:
                summary.failed += 1
                skip(result)
    summary.tokens = embedder.usage.tokens - before
    summary.seconds = perf_counter() - start
    return summary


def _results(
    embedder: Embedder, lines: Iterable[bytes], split: Split, *, stop: bool
) -> Generator[tuple[Document, Array | Failure]]:
    """Yield each line's rows or failure, in the order of the lines.

    With `stop` nothing is read after a line that isn't a document; those before it still come.
    """
    waiting: deque[Document] = deque()

    def documents() -> Iterator[Sequence[str]]:
        for document in read_documents(lines, split):
            waiting.append(document)
            yield document.chunks  # none where the line is bad: its place is kept by an error
            if stop and document.failure:
                return

    with closing(embedder.stream(documents(), errors="return")) as outcomes:
        for outcome in outcomes:
            document = waiting.popleft()
            if isinstance(outcome, ConfigurationError | AuthenticationError):
                raise outcome
            if isinstance(outcome, EmbedError):
                yield document, document.failure or failure(document.line, outcome, document.id)
            else:
                yield document, outcome
