"""`stamp_context`: nodes stamped with their siblings, by the parser and again by the user."""

from collections.abc import Iterable, Sequence

from llama_index.core.schema import BaseNode

from llama_index.embeddings.ctxembed.embedding import ContextualEmbedding
from llama_index.embeddings.ctxembed.node_metadata import read_stamp, remove_stamp, stamp
from llama_index.embeddings.ctxembed.node_removal import source_of
from llama_index.embeddings.ctxembed.siblings import Siblings, group_siblings


def stamp_context(
    nodes: Sequence[BaseNode], *, embed_model: ContextualEmbedding | None = None
) -> list[BaseNode]:
    """Stamp nodes again that were left out, added or changed after `ContextualNodeParser`.

    The nodes given are each other's siblings from then on: all of a document, at one level of its
    hierarchy. They keep the order of their former stamps; where a node of the document has none, it
    is that of links and offsets, else of the list. The nodes are changed, and returned.

    Args:
        nodes: All nodes of their documents that are to be embedded.
        embed_model: As in the parser: another model then changes the stamps too.
    """
    unstamped = {source_of(node) for node in nodes if read_stamp(node) is None}
    for node in nodes:
        if source_of(node) in unstamped:
            remove_stamp(node)
    groups = group_siblings(nodes)
    for node in nodes:
        remove_stamp(node)
    stamp_groups(groups, embed_model)
    return [*nodes]


def stamp_groups(groups: Iterable[Siblings], embed_model: ContextualEmbedding | None) -> None:
    """Write a stamp into the nodes of each group."""
    fingerprint = "" if embed_model is None else embed_model.fingerprint
    for siblings in groups:
        stamp(siblings.nodes, siblings.key or "", str(siblings.level), fingerprint)
