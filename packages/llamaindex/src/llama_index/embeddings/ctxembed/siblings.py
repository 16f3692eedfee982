"""Which nodes belong together, and in which order: `sibling_groups`, `check_complete`.

Siblings are the nodes of one source document at one level of its hierarchy. What is written in their
metadata (`stamp`) goes before what their relationships and offsets say.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from llama_index.core.schema import BaseNode, IndexNode, NodeRelationship, RelatedNodeInfo

from ctxembed import InputError
from llama_index.embeddings.ctxembed.metadata import read_stamp

_WHOLE = (
    "Hint: give all nodes of a document in one call; with num_workers, give documents and not nodes; "
    'or set missing_siblings="ignore" to embed those that are here.'
)


@dataclass(frozen=True, slots=True)
class Siblings:
    """The nodes of one document at one level, in document order; `key` is the document's id."""

    key: str | None
    level: int
    nodes: list[BaseNode]


def sibling_groups(nodes: Sequence[BaseNode], *, parsed: bool = False) -> list[Siblings]:
    """Return the siblings among nodes, first seen first; a node without a source stands alone.

    Nodes just `parsed` are in document order but for what links say: a parser that splits parts of a
    document counts offsets from the start of each.
    """
    by_id = {node.node_id: node for node in nodes}
    found: dict[Hashable, Siblings] = {}
    for number, node in enumerate(nodes):
        owner = node.ref_doc_id
        level = _level(node, by_id)
        stamped = read_stamp(node)
        place: Hashable = level if stamped is None else stamped.id
        key: Hashable = number if owner is None else (owner, place)
        found.setdefault(key, Siblings(owner, level, [])).nodes.append(node)
    return [
        Siblings(
            each.key,
            each.level,
            _along_links(each.nodes) if parsed else _in_order(each.nodes, by_id),
        )
        for each in found.values()
    ]


def check_complete(groups: Sequence[Siblings]) -> None:
    """Refuse siblings of which some are missing, or are there twice.

    Raises:
        InputError: its `key` is the id of the document.
    """
    nodes = [node for group in groups for node in group.nodes]
    here = {node.node_id for node in nodes}
    here |= {node.index_id for node in nodes if isinstance(node, IndexNode)}
    for group in groups:
        stamps = [stamped for node in group.nodes if (stamped := read_stamp(node))]
        if not stamps:
            if any(_points_away(node, here) for node in group.nodes):
                message = (
                    "neighbours of its nodes are not in this call, and a vector depends on them."
                )
                raise InputError(f"{message} {_WHOLE}", key=group.key)
        elif [stamped.place for stamped in stamps] != list(range(stamps[0].size)):
            message = (
                f"{len(stamps)} of its nodes are in this call, where {stamps[0].size} were parsed"
            )
            raise InputError(
                f"{message} together and are needed once each. {_WHOLE}", key=group.key
            )


def _points_away(node: BaseNode, here: set[str]) -> bool:
    neighbours = (
        _related(node, kind) for kind in (NodeRelationship.PREVIOUS, NodeRelationship.NEXT)
    )
    return any(each is not None and each not in here for each in neighbours)


def _level(node: BaseNode, by_id: Mapping[str, BaseNode]) -> int:
    """Return how many parents a node has, a parent that isn't here counting as the first."""
    return len(_parents(node, by_id))


def _parents(node: BaseNode, by_id: Mapping[str, BaseNode]) -> list[str]:
    parents: list[str] = []
    parent = _related(node, NodeRelationship.PARENT)
    while parent is not None and parent not in parents:
        parents.append(parent)
        parent = _related(by_id[parent], NodeRelationship.PARENT) if parent in by_id else None
    return parents


def _in_order(members: list[BaseNode], by_id: Mapping[str, BaseNode]) -> list[BaseNode]:
    """Return siblings by stamped place, else along PREVIOUS links, else by offset, else as given."""
    stamps = {id(node): stamped for node in members if (stamped := read_stamp(node))}
    if stamps:
        return sorted(members, key=lambda node: stamps[id(node)].place)
    offsets = [_offsets(node, by_id) for node in members]
    if all(offsets):
        ranks = sorted(range(len(members)), key=offsets.__getitem__)
        members = [members[rank] for rank in ranks]
    return _along_links(members)


def _offsets(node: BaseNode, by_id: Mapping[str, BaseNode]) -> list[int]:
    """Return where a node begins in its parent, after where that begins; empty where unknown.

    A parser of hierarchies counts from the start of the parent, not of the document.
    """
    parents = _parents(node, by_id)
    line = [node, *(by_id[parent] for parent in parents if parent in by_id)]
    starts = [getattr(each, "start_char_idx", None) for each in reversed(line)]
    known = [start for start in starts if start is not None]
    return known if len(known) == len(parents) + 1 else []


def _along_links(members: list[BaseNode]) -> list[BaseNode]:
    """Return chains of links in one piece each, in the order of their first nodes.

    Offsets of nodes that were split twice count from the start of the first split: only links tell
    their order.
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
    """Return the id of the node before each, by the id of the object; None where it isn't here.

    A node that isn't here still tells order where one is before it and another after it: parsers of
    tables put an index node in the place of each table.
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
