"""A run: a directory of vectors is brought up to date with an input, by one worker or several."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from ctxembed.bulk.changes import Changes, compare
from ctxembed.bulk.directory import Directory, OpenDirectory, open_directory
from ctxembed.bulk.documents import FailedDocument
from ctxembed.bulk.index import Index, ShardedIndex, build_index
from ctxembed.bulk.manifest import Manifest, Model, check_same, make_manifest, read_manifest
from ctxembed.bulk.shard import kept_types, read_listing
from ctxembed.bulk.updating import Done, Job, Task
from ctxembed.bulk.workers import crew, worker_settings
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.files.inputs import Input
from ctxembed.progress import Watch, unwatched
from ctxembed.settings import Settings

SHARD_DOCUMENTS = 200
GROWTH = 8
"""How many times as many documents as a shard was to hold are told."""

Watching = Callable[[int], AbstractContextManager[Watch]]
"""Takes the number of documents to embed, and gives what is told how far the run is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a directory is made and brought up to date.

    Attributes:
        chunk_tokens: The most tokens of a chunk of a "text"; None: what the directory has, or the
            usual.
        shard_documents: How many documents a shard holds, about; for a new directory.
        keep: Columns of the input that are carried along.
        workers: Processes with a model each.
        prune: Whether documents that are not in the input go.
        skip: Whether documents that cannot be embedded are listed, and the others embedded.
    """

    chunk_tokens: int | None = None
    shard_documents: int | None = None
    keep: tuple[str, ...] = ()
    workers: int = 1
    prune: bool = False
    skip: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: `changes` before it, what was `done`, all failures, the time in seconds."""

    changes: Changes
    done: Done
    failed: list[FailedDocument]
    textless: int
    shards: int
    shard_documents: int
    seconds: float

    @property
    def documents(self) -> int:
        """How many documents the directory holds."""
        left = self.changes.same + self.changes.new + self.changes.changed + self.changes.gone
        return left - self.changes.removed - len(self.done.failed)

    @property
    def outgrown(self) -> bool:
        """Whether the shards hold so many documents that there should be more shards."""
        return self.documents > GROWTH * self.shards * self.shard_documents


def embed_directory(
    inputs: Sequence[Input],
    root: Path,
    settings: Settings,
    options: Options,
    watching: Watching = lambda _: nullcontext(unwatched),
) -> Report:
    """Bring a directory of vectors up to date with the documents of inputs.

    The whole input is read before anything is embedded. A run that was killed is completed by the
    next one; documents whose chunks did not change are not embedded again.

    Raises:
        InputError: The input has no documents, or one that cannot be embedded (without `skip`).
        ConfigurationError: The directory was made with other settings, or is none.
        EmbedError: The model, a key or the network failed, or a worker ended.
    """
    start = perf_counter()
    with open_directory(root) as directory:
        index = build_index(
            inputs, directory.tmp, keep=options.keep, empty=settings.empty, skip=options.skip
        )
        _check_index(index, options)
        found = read_manifest(directory)
        if found is not None:
            plan = _plan(directory, found, index, options)
            if not plan.changes.any and settings.fingerprint() == found.origin.fingerprint:
                return _report(directory, found, plan, index, Done(), start)
        with crew(directory, worker_settings(settings, options.workers)) as workers:
            manifest = _agree(directory, workers.models, settings, options, index)
            plan = _plan(directory, manifest, index, options)
            job = Job(
                manifest=manifest,
                shards=plan.shards,
                sources=index.sources,
                prune=options.prune,
                skip=options.skip,
            )
            done = Done()
            with watching(plan.changes.embedded) as watch:
                for each in workers.run(plan.tasks, job, plan.index, watch):
                    done += each
        return _report(directory, manifest, plan, index, done, start)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: the input by shards, how they differ from it, and tasks."""

    index: ShardedIndex
    shards: int
    changes: Changes
    tasks: list[Task]


def _plan(directory: Directory, manifest: Manifest, index: Index, options: Options) -> Plan:
    check_options(directory, manifest, options)
    shards = directory.shards() or manifest.shards
    sharded = index.sharded(shards)
    each = list(shard_changes(directory, manifest, sharded, shards, prune=options.prune))
    tasks = _tasks(each, manifest.shard_documents)
    return Plan(sharded, shards, sum(each, Changes()), tasks)


def shard_changes(
    directory: Directory, manifest: Manifest, index: ShardedIndex, shards: int, *, prune: bool
) -> Iterator[Changes]:
    """Yield how each shard differs from the input."""
    for number in range(shards):
        listing = read_listing(directory.shard(number, shards), manifest)
        yield compare(index.shard(number), listing, prune=prune)


def _tasks(changes: Iterable[Changes], most: int) -> list[Task]:
    """Return the shards that have to be written, together where they have few new documents.

    A process that is killed loses one task at most, and a model that reads few documents at a time
    is slow.
    """
    tasks: list[Task] = []
    group: list[int] = []
    documents = 0
    for number, each in enumerate(changes):
        if not each.any:
            continue
        if group and documents + each.embedded > most:
            tasks.append(Task(tuple(group)))
            group, documents = [], 0
        group.append(number)
        documents += each.embedded
    return [*tasks, Task(tuple(group))] if group else tasks


def check_options(directory: Directory, manifest: Manifest, options: Options) -> None:
    """Refuse options that a directory has with another value."""
    given = {
        "--chunk-tokens": (options.chunk_tokens or manifest.chunk_tokens, manifest.chunk_tokens),
        "--shard-documents": (
            options.shard_documents or manifest.shard_documents,
            manifest.shard_documents,
        ),
        "--keep": (options.keep, tuple(manifest.keep)),
    }
    for name, (asked, there) in given.items():
        if asked != there:
            raise ConfigurationError(
                f"{directory.root} was made with {name} {_told(there)}, not {_told(asked)}. Hint: "
                "give what it was made with, or embed into another directory."
            )


def _told(value: object) -> str:
    return (" ".join(value) or "nothing") if isinstance(value, tuple) else str(value)


def _check_index(index: Index, options: Options) -> None:
    if not len(index.records):
        reason = "none could be read" if index.failed else "there are none"
        raise InputError(f"no documents: {reason}. Nothing was changed.")
    if options.prune and any(each.failure.id is None for each in index.failed):
        raise InputError(
            "--prune would remove documents whose lines cannot be read: "
            f"{next(each for each in index.failed if each.failure.id is None)}"
        )


def _agree(
    directory: OpenDirectory,
    models: Sequence[Model],
    settings: Settings,
    options: Options,
    index: Index,
) -> Manifest:
    """Return the manifest, made now where there is none; a worker with another model is refused."""
    model = models[0]
    most = options.shard_documents or SHARD_DOCUMENTS
    documents = len(index.records)
    # the settings that were given, and not those of one worker, which names its GPU
    named = replace(model.origin.settings, device=settings.device)
    manifest = make_manifest(
        directory,
        Manifest(
            origin=replace(model.origin, settings=named),
            made_with=model.made_with,
            chunk_tokens=options.chunk_tokens or model.chunk_tokens,
            shard_documents=most,
            shards=max(-(-documents // most), min(options.workers, documents)),
            keep=kept_types(options.keep, index),
        ),
    )
    for each in models:
        check_same(directory, manifest, each)
    return manifest


def _report(
    directory: OpenDirectory,
    manifest: Manifest,
    plan: Plan,
    index: Index,
    done: Done,
    start: float,
) -> Report:
    """Return what was done, and list what could not be embedded in `errors.jsonl`."""
    failed = sorted(
        [*index.failed, *done.failed], key=lambda each: (each.source.input.name, each.failure.line)
    )
    if failed:
        new = directory.tmp / directory.errors.name
        new.write_text("".join(f"{each.to_json()}\n" for each in failed), encoding="utf-8")
        new.replace(directory.errors)
    else:
        directory.errors.unlink(missing_ok=True)
    seconds = perf_counter() - start
    return Report(
        *(plan.changes, done, failed, index.textless),
        *(plan.shards, manifest.shard_documents, seconds),
    )
