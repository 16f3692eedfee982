"""What a directory holds, what of it is missing or damaged, and what a run would do; no model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ctxembed.bulk.changes import Changes
from ctxembed.bulk.directory import Directory
from ctxembed.bulk.documents import FailedDocument
from ctxembed.bulk.index import build_index
from ctxembed.bulk.manifest import Manifest, read_manifest
from ctxembed.bulk.run import shard_changes
from ctxembed.bulk.shard import check_shard, read_listing
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.files.inputs import find_inputs
from ctxembed.files.parquet import Rows, open_vectors


@dataclass(frozen=True, slots=True)
class Status:
    """What a directory holds; `missing` are names of shards, `damaged` are reasons."""

    manifest: Manifest
    shards: int
    documents: int
    chunks: int
    missing: list[str]
    damaged: list[str]


def read_status(root: Path) -> Status:
    """Return what a directory holds, by the ids in its shards.

    Raises:
        ConfigurationError: It holds no vectors.
    """
    directory, manifest, shards = _known(root)
    documents = chunks = 0
    missing, damaged = [], []
    for number in range(shards):
        path = directory.shard(number, shards)
        try:
            listing = read_listing(path, manifest)
        except InputError as error:
            damaged.append(error.message)
            continue
        if listing is None:
            missing.append(path.name)
            continue
        documents += len(listing)
        chunks += max((each.stop for each in listing.values()), default=0)
    return Status(manifest, shards, documents, chunks, missing, damaged)


def read_changes(root: Path, sources: Sequence[str]) -> tuple[Changes, list[FailedDocument]]:
    """Return what a run with these inputs would change, and what of them cannot be embedded.

    Raises:
        ConfigurationError: The directory holds no vectors, or an input is not there.
        InputError: A shard is damaged.
    """
    directory, manifest, shards = _known(root)
    keep = tuple(manifest.keep)
    with TemporaryDirectory() as folder:
        inputs = find_inputs(sources, keep, without=root)
        empty = manifest.origin.settings.empty
        index = build_index(inputs, Path(folder), keep=keep, empty=empty, skip=True)
        sharded = index.sharded(shards)
        found = shard_changes(directory, manifest, sharded, shards, prune=False)
        return sum(found, Changes()), index.failed


def read_rows(root: Path) -> tuple[Manifest, Iterator[Rows], list[str]]:
    """Return the manifest, the rows of all shards, and the names of shards that are missing.

    Raises:
        ConfigurationError: The directory holds no vectors.
        InputError: While rows are read: a shard is damaged, or was made with something else.
    """
    directory, manifest, shards = _known(root)
    paths = [directory.shard(number, shards) for number in range(shards)]
    there = [path for path in paths if path.exists()]

    def rows() -> Iterator[Rows]:
        for path in there:
            with open_vectors(path) as stored:
                check_shard(path, stored.file.schema_arrow, manifest)
                yield from stored.rows()

    return manifest, rows(), [path.name for path in paths if path not in there]


def _known(root: Path) -> tuple[Directory, Manifest, int]:
    directory = Directory(root)
    manifest = read_manifest(directory)
    if manifest is None:
        raise ConfigurationError(
            f"{root} holds no vectors. Hint: ctxembed embed INPUT -o {root}/ makes them."
        )
    return directory, manifest, directory.shards() or manifest.shards
