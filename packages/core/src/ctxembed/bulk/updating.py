"""Shards brought up to date, a few at a time, by one embedder.

A shard is read, compared and replaced under its lock, so that of two runs on one directory none
undoes what the other did. Which process does which shards is decided in `run`.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic

from ctxembed.assembly import Outcome
from ctxembed.bulk.changes import compare, to_embed
from ctxembed.bulk.directory import OpenDirectory
from ctxembed.bulk.documents import (
    FailedDocument,
    ReadDocument,
    Source,
    Wanted,
    kept_text,
    read_document,
)
from ctxembed.bulk.index import ShardedIndex
from ctxembed.bulk.manifest import Manifest
from ctxembed.bulk.shard import (
    Listing,
    NewDocument,
    read_listing,
    write_shard,
)
from ctxembed.documents import TokenizedChunk
from ctxembed.embedder import Embedder
from ctxembed.encoding import Array
from ctxembed.errors import AuthenticationError, ConfigurationError, EmbedError, InputError
from ctxembed.files.documents import Document, Split, failure
from ctxembed.progress import Progress, Watch, added
from ctxembed.splitting import chunker

_SECONDS_BETWEEN_WATCHES = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done with a directory."""

    manifest: Manifest
    shards: int
    sources: list[Source]
    prune: bool = False
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """Shards that are brought up to date together; with `wait`, also when others are at them."""

    shards: tuple[int, ...]
    wait: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a task: documents and chunks with new vectors, tokens read, failures.

    Of the documents, `cached` were not read by the model. Other processes are at the `deferred`
    shards.
    """

    documents: int = 0
    cached: int = 0
    chunks: int = 0
    tokens: int = 0
    failed: list[FailedDocument] = field(default_factory=list)
    deferred: tuple[int, ...] = ()

    def __add__(self, other: "Done") -> "Done":
        return added(self, other)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A shard under way: what is stored, what is wanted, and the documents read for the model."""

    number: int
    listing: Listing | None
    wanted: list[Wanted]
    embedded: list[Wanted]
    read: list[ReadDocument] = field(default_factory=list)


class Updater:
    """Brings shards of a directory up to date with an input."""

    def __init__(
        self, directory: OpenDirectory, embedder: Embedder, job: Job, index: ShardedIndex
    ) -> None:
        self._directory, self._embedder = directory, embedder
        self._job, self._index = job, index
        self._split = chunker(embedder.backend.tokenize, job.manifest.chunk_tokens)
        self._before = Progress()

    def update(self, task: Task, watch: Watch) -> Done:
        """Bring shards up to date; `watch` is told how far all tasks so far are.

        Raises:
            InputError: A document cannot be embedded, and the job does not skip such.
            EmbedError: The model, a key or the network failed.
            OSError: A file cannot be read or written.
        """
        take = self._directory.take_shard
        try:
            held = [number for number in task.shards if take(number, wait=task.wait)]
            left = tuple(number for number in task.shards if number not in held)
            return self._update(held, watch) + Done(deferred=left)
        finally:
            for number in task.shards:
                self._directory.release_shard(number)

    def _update(self, shards: Sequence[int], watch: Watch) -> Done:
        pending = [each for each in map(self._pending, shards) if each is not None]
        before, done, start = self._embedder.usage, Done(), self._before

        def chunks() -> Iterator[Sequence[str | TokenizedChunk]]:
            for shard in pending:
                for each in shard.embedded:
                    shard.read.append(self._read(each))
                    yield shard.read[-1].chunks

        def watched(progress: Progress) -> None:
            self._before = start + progress
            watch(self._before)

        stream = self._embedder.stream(chunks(), errors="return", watch=seldom(watched))
        with closing(stream) as outcomes:
            for shard in pending:
                done += self._finish(shard, list(islice(outcomes, len(shard.embedded))))
        used = self._embedder.usage
        return done + Done(
            cached=used.cached_documents - before.cached_documents,
            tokens=used.tokens - before.tokens,
        )

    def _pending(self, number: int) -> _Pending | None:
        """Return what has to be done for a shard, None where it is up to date."""
        listing = read_listing(self._path(number), self._job.manifest)
        wanted = self._index.shard(number)
        if not compare(wanted, listing, prune=self._job.prune).any:
            return None
        return _Pending(number, listing, wanted, to_embed(wanted, listing or {}))

    def _finish(self, shard: _Pending, outcomes: Sequence[Outcome]) -> Done:
        """Write a shard, when there is an outcome for each document that the model read."""
        documents = self._stored(shard)
        failed: list[FailedDocument] = []
        chunks = 0
        for each, read, outcome in zip(shard.embedded, shard.read, outcomes, strict=True):
            if isinstance(outcome, EmbedError):
                failed.append(self._failed(each, read, outcome))
                continue
            made = (Document(each.line, read.id, read.chunks), outcome)
            documents[each.key] = self._document(each, read, made=made)
            chunks += len(outcome)
        before = {key: (each.siblings, each.kept) for key, each in (shard.listing or {}).items()}
        after = {key: (each.siblings, each.kept) for key, each in documents.items()}
        if before != after or shard.listing is None:
            ordered = [documents[key] for key in sorted(documents)]
            path = self._path(shard.number)
            write_shard(self._directory, path, ordered, self._job.manifest)
        return Done(documents=len(outcomes) - len(failed), chunks=chunks, failed=failed)

    def _stored(self, shard: _Pending) -> dict[bytes, NewDocument]:
        """Return the documents of the new shard whose rows are in the old one, by their keys."""
        stored = shard.listing or {}
        rows = {each.siblings: (each.start, each.stop) for each in stored.values()}
        found = (
            {}
            if self._job.prune
            else {key: NewDocument.as_it_was(each) for key, each in stored.items()}
        )
        for each in shard.wanted:
            old = stored.get(each.key)
            found.pop(each.key, None)
            if old is not None and (old.siblings, old.kept) == (each.siblings, each.kept):
                found[each.key] = NewDocument.as_it_was(old)
            elif each.siblings in rows:
                read = self._read(each, cut=False)
                found[each.key] = self._document(each, read, span=rows[each.siblings])
        return found

    def _document(
        self,
        wanted: Wanted,
        read: ReadDocument,
        *,
        span: tuple[int, int] = (0, 0),
        made: tuple[Document, Array] | None = None,
    ) -> NewDocument:
        values = tuple(kept_text(read.value.get(name)) for name in self._job.manifest.keep)
        return NewDocument(read.id, wanted.siblings, wanted.kept, *span, values=values, made=made)

    def _read(self, wanted: Wanted, *, cut: bool = True) -> ReadDocument:
        split: Split = self._split if cut else lambda text: [text]
        return read_document(self._job.sources[wanted.source], wanted, split)

    def _failed(self, wanted: Wanted, read: ReadDocument, error: EmbedError) -> FailedDocument:
        """Return a document that cannot be embedded; what is no fault of its own is raised."""
        if isinstance(error, ConfigurationError | AuthenticationError):
            raise error
        if not isinstance(error, InputError):
            raise error.at(document=None, chunk=None, key=read.id) from error.__cause__
        source = self._job.sources[wanted.source]
        failed = FailedDocument(source, failure(wanted.line, error, read.id))
        if not self._job.skip:
            raise InputError(str(failed))
        return failed

    def _path(self, number: int) -> Path:
        return self._directory.shard(number, self._job.shards)


def seldom(watch: Watch) -> Watch:
    """Return a function that passes on how far a call is when the last time is long enough ago."""
    last = 0.0

    def watched(progress: Progress) -> None:
        nonlocal last
        now = monotonic()
        if now - last >= _SECONDS_BETWEEN_WATCHES:
            last = now
            watch(progress)

    return watched
