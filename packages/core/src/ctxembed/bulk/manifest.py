"""The manifest: what all vectors of a directory were made with, and how they are spread.

It is made once and never changed, by a link that fails where one is there already.
"""

import errno
import json
import os
from contextlib import suppress
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import Any, Self

from ctxembed.bulk.directory import Directory, OpenDirectory, fsync_folder
from ctxembed.embedder import Embedder
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.files.origin import Origin
from ctxembed.recipe import document_recipe, made_with
from ctxembed.settings import Settings
from ctxembed.windows import usual_chunk_tokens

_FORMAT = 1
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

_NEVER_THE_REASON = ("query_prefix", "empty", "long_chunks")
"""Settings that a fingerprint counts and that change no row of a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a directory holds.

    Attributes:
        origin: The settings of the first run, which every shard names.
        made_with: Everything that decides a stored row, resolved, by name.
        chunk_tokens: The most tokens of a chunk of a "text".
        shard_documents: How many documents a shard was to hold.
        shards: How many there were at first; the names of the files tell how many there are.
        keep: Columns that are carried along, with their types.
    """

    origin: Origin
    made_with: dict[str, Any]
    chunk_tokens: int
    shard_documents: int
    shards: int
    keep: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A hash of what decides a stored row; every shard names it."""
        canonical = json.dumps(self.made_with, sort_keys=True)
        return blake2b(canonical.encode(), digest_size=16).hexdigest()

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        metadata = {k.decode(): v.decode() for k, v in self.origin.to_metadata().items()}
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps({"format": _FORMAT, **values, "origin": metadata}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the manifest that `to_json` wrote, or raise `InputError`."""
        try:
            values = json.loads(text)
            if values.pop("format") != _FORMAT:
                raise InputError("is of another version of ctxembed. Hint: install that version.")
            metadata = {k.encode(): v.encode() for k, v in values.pop("origin").items()}
            return cls(origin=Origin.from_metadata(metadata), **values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("is damaged. Hint: embed into a new directory.") from error


@dataclass(frozen=True, slots=True)
class Model:
    """What an embedder decides of a manifest."""

    origin: Origin
    made_with: dict[str, Any]
    chunk_tokens: int

    @classmethod
    def of(cls, embedder: Embedder) -> Self:
        """Return what the manifest has of an embedder."""
        settings, backend = embedder.settings, embedder.backend
        values = made_with(document_recipe(settings, backend), backend)
        if values is None:
            raise ConfigurationError(
                f"a directory needs to know which vectors are the same, and "
                f"{type(backend).__name__} has no identity."
            )
        model = {f"model {name}": value for name, value in values.pop("model").items()}
        context = values.pop("context") or {"context_weight": 0.0}
        stored = {"encoding": settings.encoding, "normalize": settings.normalize}
        return cls(
            Origin.of(settings, embedder.fingerprint, embedder.dimensions),
            {**values, **model, **context, **stored},
            usual_chunk_tokens(settings, backend.spec),
        )


def read_manifest(directory: Directory) -> Manifest | None:
    """Return the manifest of a directory, None where there is none."""
    try:
        text = directory.manifest.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return Manifest.from_json(text)
    except InputError as error:
        raise error.at(f"{directory.manifest} {error.message}") from error.__cause__


def make_manifest(directory: OpenDirectory, proposed: Manifest) -> Manifest:
    """Return the manifest of a directory, which is the one proposed where there was none.

    Where the file system has no links, the file is renamed: the lock keeps two runs apart there.
    """
    with directory.manifest_lock():
        if not directory.manifest.exists():
            directory.data.mkdir(exist_ok=True)
            new = directory.tmp / directory.manifest.name
            with new.open("x", encoding="utf-8") as file:
                file.write(proposed.to_json())
                file.flush()
                os.fsync(file.fileno())
            try:
                with suppress(FileExistsError):
                    os.link(new, directory.manifest)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                new.rename(directory.manifest)
            fsync_folder(directory.root)
    found = read_manifest(directory)
    return proposed if found is None else found


def check_same(directory: Directory, found: Manifest, model: Model) -> None:
    """Refuse a model that would give other rows than those that are there, naming both values."""
    made = {name: (found.made_with.get(name), new) for name, new in model.made_with.items()}
    resolved = {name: pair for name, pair in made.items() if pair[0] != pair[1]}
    if not resolved:
        return
    theirs, ours = found.origin.settings.to_dict(), model.origin.settings.to_dict()
    chosen = {
        each.name: (theirs[each.name], ours[each.name])
        for each in fields(Settings)
        if each.metadata["in_vectors"]
        and each.name not in _NEVER_THE_REASON
        and theirs[each.name] != ours[each.name]
    }
    named = (chosen or resolved).items()
    told = ", ".join(f"{name} {old!r}, not {new!r}" for name, (old, new) in named)
    raise ConfigurationError(
        f"{directory.root} was embedded with {told}: rows of both must not be mixed. Hint: leave "
        "that out, or embed into another directory."
    )
