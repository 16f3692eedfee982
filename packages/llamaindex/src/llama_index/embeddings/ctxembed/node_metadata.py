"""The stamp: what a node parser writes into a node's metadata about its siblings.

LlamaIndex's caches and hashes see text and metadata, never the siblings. Three keys put the
siblings there; neither the embedding model nor the LLM reads these keys.
"""

from collections.abc import Sequence
from typing import NamedTuple

from llama_index.core.schema import BaseNode, MetadataMode

from ctxembed import InputError, sibling_fingerprint

CONTEXT_ID = "context_id"
CONTEXT_INDEX = "context_index"
CONTEXT_SIZE = "context_size"
KEYS = (CONTEXT_ID, CONTEXT_INDEX, CONTEXT_SIZE)


class Stamp(NamedTuple):
    """Which siblings a node has, its place among them from 0, and how many there are."""

    id: str
    place: int
    size: int


def read_stamp(node: BaseNode) -> Stamp | None:
    """Return what `stamp` wrote, None where it did not."""
    match [node.metadata.get(key) for key in KEYS]:
        case [str(id_), int(place), int(size)]:
            return Stamp(id_, place, size)
    return None


def stamp_keys(node: BaseNode) -> tuple[str, ...]:
    """Return the metadata keys of a node's stamp; none where it has no stamp."""
    return () if read_stamp(node) is None else KEYS


def check_unclaimed(node: BaseNode) -> None:
    """Refuse the user's own metadata under the keys of a stamp.

    Raises:
        InputError: its `key` is the id of the node.
    """
    claimed = [key for key in KEYS if key in node.metadata]
    if claimed and read_stamp(node) is None:
        raise InputError(
            f"has metadata {claimed[0]!r}, which is written here. Hint: rename it.",
            key=node.node_id,
        )


def remove_stamp(node: BaseNode) -> None:
    """Remove a stamp, such as one inherited from a node that was split further."""
    if any(key in node.metadata for key in KEYS):
        node.metadata = {k: v for k, v in node.metadata.items() if k not in KEYS}


def stamp(members: Sequence[BaseNode], *origin: str) -> None:
    """Write into each sibling the hash of all and of their origin, its place, and their number.

    The hash covers what may be read of them too: caches do not see which metadata is excluded.
    """
    modes = (MetadataMode.ALL, MetadataMode.EMBED, MetadataMode.LLM)
    texts = [node.get_content(mode) for node in members for mode in modes]
    context_id = sibling_fingerprint([*origin, *texts])
    for index, node in enumerate(members):
        node.metadata = {
            **node.metadata,
            CONTEXT_ID: context_id,
            CONTEXT_INDEX: index,
            CONTEXT_SIZE: len(members),
        }
        node.excluded_embed_metadata_keys = _with_keys(node.excluded_embed_metadata_keys)
        node.excluded_llm_metadata_keys = _with_keys(node.excluded_llm_metadata_keys)


def _with_keys(excluded: Sequence[str]) -> list[str]:
    return [*excluded, *(key for key in KEYS if key not in excluded)]
