"""`Progress`: how far a call is, what is left of it, and the bar that shows it.

Documents are read block by block, so how many tokens there are is known of the blocks that were
read. The rest is an estimate: it is taken to be like them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib import import_module
from itertools import accumulate
from typing import Any, TypeVar

from ctxembed.documents import TokenizedChunk
from ctxembed.errors import EmbedError, MissingDependencyError

Record = TypeVar("Record")

_FORMAT = "{percentage:3.0f}%|{bar}| [{elapsed}] {desc}"
_MINUTE, _HOUR = 60, 3600


def added(one: Record, other: Record) -> Record:
    """Return the sum of two records (dataclasses of numbers, lists or tuples), field by field."""
    given: Any = one
    names = [each.name for each in fields(given)]
    sums = {name: getattr(one, name) + getattr(other, name) for name in names}
    return type(one)(**sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a call is.

    `taken` documents were read from the caller. `documents` of them are finished: those whose
    vectors were `cached` and those that `failed` are among them. `chunks` counts the chunks of
    finished documents that have vectors. The model has read `tokens`, a large document's too while
    it is under way; `planned_tokens` are those that it still has to read, and `cached_tokens` those
    of cached documents.
    """

    taken: int = 0
    documents: int = 0
    cached: int = 0
    failed: int = 0
    chunks: int = 0
    tokens: int = 0
    planned_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: "Progress") -> "Progress":
        """Return how far two calls are together."""
        return added(self, other)

    def share(self, taken: float) -> float:
        """Return which share of the work is done, where a share of the input was `taken`."""
        done = self.tokens + self.cached_tokens
        known = done + self.planned_tokens
        return taken * done / known if known else taken

    def seconds_left(self, taken: float, seconds: float) -> float | None:
        """Return the time left, after so many seconds; None before the model has read anything."""
        if not (self.tokens and taken):
            return None
        ahead = (self.tokens + self.planned_tokens) / taken - self.tokens
        return seconds * ahead / self.tokens

    def rate(self, seconds: float) -> str:
        """Return how fast the model reads."""
        return f"{self.tokens / max(seconds, 1e-9):,.0f} tokens/s"

    def others(self) -> list[str]:
        """Return how many of the documents were cached or have no vectors, where any do."""
        counts = {"cached": self.cached, "without vectors": self.failed}
        return [f"{count:,} {name}" for name, count in counts.items() if count]


Watch = Callable[[Progress], None]
"""Is called with how far a call is: when documents were read, and when a batch has come."""


def unwatched(_: Progress) -> None:
    """Do nothing with how far a call is."""


def clock_time(seconds: float) -> str:
    """Return a time as a clock shows it.

    >>> clock_time(5), clock_time(125.4), clock_time(3725)
    ('00:05', '02:05', '1:02:05')
    """
    whole = round(seconds)
    hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
    return f"{hours}:" * bool(hours) + f"{minutes:02}:{whole % _MINUTE:02}"


@contextmanager
def progress_bar(
    documents: Sequence[Sequence[str | TokenizedChunk] | EmbedError], *, shown: bool
) -> Iterator[Watch]:
    """Give what moves a bar of documents, chunks and tokens, or nothing if not `shown`.

    Raises:
        MissingDependencyError: the bar is to be shown, and tqdm is not installed.
    """
    if not shown:
        yield unwatched
        return
    sizes = [0, *accumulate(map(characters, documents))]

    def told(progress: Progress, taken: float, seconds: float) -> str:
        left = progress.seconds_left(taken, seconds)
        parts = (
            f"{progress.documents:,}/{len(documents):,} documents",
            *progress.others(),
            f"{progress.chunks:,} chunks",
            f"{progress.tokens:,} tokens",
            progress.rate(seconds),
            *([] if left is None else [f"{clock_time(left)} left"]),
        )
        return ", ".join(parts)

    start = told(Progress(), 0, 0)
    with _tqdm()(total=1.0, desc=start, bar_format=_FORMAT, miniters=0) as bar:

        def watch(progress: Progress) -> None:
            taken = sizes[progress.taken] / sizes[-1] if sizes[-1] else 1.0
            text = told(progress, taken, bar.format_dict["elapsed"])
            bar.set_description_str(text, refresh=False)
            bar.update(max(0.0, progress.share(taken) - bar.n))  # an estimate may go back

        yield watch


def characters(document: Sequence[str | TokenizedChunk] | EmbedError) -> int:
    """Return the length of a document's chunks; of an error, 0."""
    chunks = () if isinstance(document, EmbedError) else document
    return sum(len(each.text if isinstance(each, TokenizedChunk) else each) for each in chunks)


def _tqdm() -> Callable[..., Any]:
    try:
        made: Callable[..., Any] = import_module("tqdm.auto").tqdm
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'progress=True needs tqdm. Run: python -m pip install "ctxembed[progress]"'
        ) from error
    return made
