"""What the input asks of a shard: which documents are new, changed or gone, and which to embed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ctxembed.bulk.documents import NOTHING, Wanted
from ctxembed.bulk.shard import Listing
from ctxembed.progress import added


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The difference between the input and what is stored, in documents.

    `same` have the chunks and kept values that are stored; of those that are `changed` some may
    have other kept values only. `gone` are stored and not in the input, or without text there;
    `removed` are those of them that go. The model has to read `embedded`.
    """

    same: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0
    removed: int = 0
    embedded: int = 0
    missing: int = 0
    """Shards without a file."""

    @property
    def any(self) -> bool:
        """Whether anything has to be written."""
        return bool(self.new or self.changed or self.removed or self.missing)

    def __add__(self, other: "Changes") -> "Changes":
        return added(self, other)


def compare(wanted: Sequence[Wanted], listing: Listing | None, *, prune: bool = False) -> Changes:
    """Return what differs between the documents of a shard in the input and in its file."""
    stored = listing or {}
    same = new = changed = emptied = 0
    for each in wanted:
        old = stored.get(each.key)
        if old is None:
            new += each.siblings != NOTHING
        elif each.siblings == NOTHING:
            emptied += 1
        elif (old.siblings, old.kept) == (each.siblings, each.kept):
            same += 1
        else:
            changed += 1
    gone = len(stored) - same - changed
    return Changes(
        same=same,
        new=new,
        changed=changed,
        gone=gone,
        removed=gone if prune else emptied,
        embedded=len(to_embed(wanted, stored)),
        missing=listing is None,
    )


def to_embed(wanted: Iterable[Wanted], stored: Listing) -> list[Wanted]:
    """Return the documents whose chunks have no rows in the shard yet."""
    known = {each.siblings for each in stored.values()} | {NOTHING}
    return [each for each in wanted if each.siblings not in known]
