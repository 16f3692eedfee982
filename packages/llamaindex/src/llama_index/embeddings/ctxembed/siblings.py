"""Which nodes are siblings, and in which order: `group_siblings`, `check_complete`.

Siblings are the nodes of one source document at one level of its hierarchy. The stamp in their
metadata (`node_metadata.stamp`) is believed before their relationships and offsets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llama_index.core.schema import BaseNode, IndexNode, NodeRelationship, RelatedNodeInfo

from ctxembed import InputError, group
from llama_index.embeddings.ctxembed.node_metadata import CONTEXT_INDEX, read_stamp

_WHOLE = (
    "Hint: give all nodes of a document in one call; with num_workers, give documents and not "
    "nodes; where nodes were left out or added on purpose, call stamp_context(nodes) after it; "
    'missing_siblings="ignore" embeds those that are here, without what the others tell them.'
)


@dataclass(frozen=True, slots=True)
class Siblings:
    """The nodes of one document at one level, in document order; `key` is the document's id."""

    key: str | None
    level: int
    nodes: list[BaseNode]


def group_siblings(nodes: Sequence[BaseNode], *, parsed: bool = False) -> list[Siblings]:
    """Return the siblings among nodes, first seen first; a node without a source stands alone.

    Nodes that were just `parsed` are in document order, except where links say otherwise: a parser
    that splits parts of a document counts offsets from the start of each part.
    """
    by_id = {node.node_id: node for node in nodes}
    keys = [_group_key(node, by_id) for node in nodes]
    return [
        Siblings(
            members[0].ref_doc_id,
            len(_parents(members[0], by_id)),
            _along_links(members) if parsed else _in_order(members, by_id),
        )
        for members in group(zip(keys, nodes, strict=True)).documents
    ]


def check_complete(groups: Sequence[Siblings]) -> None:
    """Refuse siblings of which some are missing, or are there twice.

    Raises:
        InputError: its `key` is the id of the document.
    """
    nodes = [node for siblings in groups for node in siblings.nodes]
    here = {node.node_id for node in nodes}
    here |= {node.index_id for node in nodes if isinstance(node, IndexNode)}
    for siblings in groups:
        stamps = [stamp for node in siblings.nodes if (stamp := read_stamp(node))]
        if stamps and [stamp.place for stamp in stamps] != list(range(stamps[0].size)):
            raise InputError(
                f"{len(stamps)} of its nodes are in this call, where {stamps[0].size} were parsed "
                f"together and are needed once each. {_WHOLE}",
                key=siblings.key,
            )
        if not stamps and any(_points_away(node, here) for node in siblings.nodes):
            raise InputError(
                "neighbours of its nodes are not in this call, and a vector depends on them. "
                f"{_WHOLE}",
                key=siblings.key,
            )


def _group_key(node: BaseNode, by_id: Mapping[str, BaseNode]) -> tuple[str, str | int] | None:
    """Return what a node has in common with its siblings; None where it stands alone."""
    if node.ref_doc_id is None:
        return None
    stamp = read_stamp(node)
    return node.ref_doc_id, len(_parents(node, by_id)) if stamp is None else stamp.id


def _points_away(node: BaseNode, here: set[str]) -> bool:
    neighbours = (
        _related(node, kind) for kind in (NodeRelationship.PREVIOUS, NodeRelationship.NEXT)
    )
    return any(each is not None and each not in here for each in neighbours)


def _parents(node: BaseNode, by_id: Mapping[str, BaseNode]) -> list[str]:
    """Return the ids of a node's parents, up to the first that is not here; they tell its level."""
    parents: list[str] = []
    parent = _related(node, NodeRelationship.PARENT)
    while parent is not None and parent not in parents:
        parents.append(parent)
        parent = _related(by_id[parent], NodeRelationship.PARENT) if parent in by_id else None
    return parents


def _in_order(members: list[BaseNode], by_id: Mapping[str, BaseNode]) -> list[BaseNode]:
    """Return siblings by stamped place, else by links, else by offset, else as given."""
    if read_stamp(members[0]):
        return sorted(members, key=lambda node: node.metadata[CONTEXT_INDEX])
    offsets = [_offsets(node, by_id) for node in members]
    if all(offsets):
        ranks = sorted(range(len(members)), key=offsets.__getitem__)
        members = [members[rank] for rank in ranks]
    return _along_links(members)


def _offsets(node: BaseNode, by_id: Mapping[str, BaseNode]) -> list[int]:
    """Return the offsets of the parents and the node, outermost first; empty where one is unknown.

    A parser of hierarchies counts from the start of the parent, not of the document.
    """
    parents = _parents(node, by_id)
    line = [node, *(by_id[parent] for parent in parents if parent in by_id)]
    starts = [getattr(each, "start_char_idx", None) for each in reversed(line)]
    known = [start for start in starts if start is not None]
    return known if len(known) == len(parents) + 1 else []


def _along_links(members: list[BaseNode]) -> list[BaseNode]:
    """Return every chain of linked nodes in one piece, in the order of their first nodes.

    Offsets of nodes that were split twice count from the start of the first split, so only links
    tell their order.
    """
    before = _predecessors(members)
    following = {before[id(node)]: node for node in members}
    ordered: list[BaseNode] = []
    for head in members:
        if before[id(head)] is not None:
            continue
        node: BaseNode | None = head
        while node is not None and len(ordered) < len(members):
            ordered.append(node)
            node = following.get(node.node_id)
    return ordered if len({id(node) for node in ordered}) == len(members) else members


def _predecessors(members: Sequence[BaseNode]) -> dict[int, str | None]:
    """Return the id of the node before each, by the id of the object; None where it is not here.

    A node that is not here still tells the order of the two around it: parsers of tables put an
    index node in the place of each table.
    """
    here = {node.node_id for node in members}
    leading_to = {_related(node, NodeRelationship.NEXT): node.node_id for node in members}
    found: dict[int, str | None] = {}
    for node in members:
        previous = _related(node, NodeRelationship.PREVIOUS)
        if previous is not None and previous not in here:
            previous = leading_to.get(previous)
        found[id(node)] = previous
    return found


def _related(node: BaseNode, kind: NodeRelationship) -> str | None:
    related = node.relationships.get(kind)
    return related.node_id if isinstance(related, RelatedNodeInfo) else None
