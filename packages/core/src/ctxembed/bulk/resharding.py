"""Rows spread over more shards, without embedding.

The number of shards is multiplied, so that a new shard has rows of one old shard only. All new
shards are written into a folder of their own, which then takes the place of `data`. Between the two
renames a reader finds no folder, never wrong rows; a process that is killed there leaves the rest
to the next run.
"""

from pathlib import Path

from ctxembed.bulk.directory import RESHARDED, fsync_folder, open_directory, part_name
from ctxembed.bulk.documents import shard_of
from ctxembed.bulk.manifest import read_manifest
from ctxembed.bulk.shard import NewDocument, read_listing, write_shard
from ctxembed.errors import ConfigurationError


def reshard_directory(root: Path) -> tuple[int, int]:
    """Return how many shards a directory had, and how many it has now.

    Raises:
        ConfigurationError: There is no directory, or another run works on it.
        InputError: A shard is damaged.
    """
    with open_directory(root, alone=True) as directory:
        manifest = read_manifest(directory)
        if manifest is None:
            raise ConfigurationError(f"{root} holds no vectors. Hint: leave --reshard out.")
        shards = directory.shards() or manifest.shards
        paths = [directory.shard(number, shards) for number in range(shards)]
        documents = sum(len(read_listing(path, manifest) or {}) for path in paths)
        times = round(documents / (shards * manifest.shard_documents))
        if times <= 1:
            return shards, shards
        partial = directory.tmp / "partial"
        partial.mkdir()
        for number, path in enumerate(paths):
            listing = sorted((read_listing(path, manifest) or {}).items())
            for part in range(number, shards * times, shards):
                kept = [
                    NewDocument.as_it_was(each)
                    for key, each in listing
                    if shard_of(key, shards * times) == part
                ]
                new = partial / part_name(part, shards * times)
                write_shard(directory, new, kept, manifest, before=path)
        complete = partial.rename(directory.tmp / RESHARDED)
        directory.data.rename(directory.tmp / "data")
        complete.rename(directory.data)
        fsync_folder(root)
        return shards, shards * times
