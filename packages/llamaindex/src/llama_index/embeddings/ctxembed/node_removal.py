"""`is_blank`, `remove_nodes`: nodes left out of what a parser made, the others linked anew."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from llama_index.core.schema import BaseNode, MetadataMode, NodeRelationship, RelatedNodeInfo

from ctxembed import InputError
from ctxembed.lazy import has_text

Node = TypeVar("Node", bound=BaseNode)

_ALONG = (NodeRelationship.PREVIOUS, NodeRelationship.NEXT)


def is_blank(node: BaseNode) -> bool:
    """Tell whether a node's text, without metadata, is nothing but white space and NUL."""
    return not has_text(node.get_content(MetadataMode.NONE))


def source_of(node: BaseNode) -> str:
    """Return the id of a node's source document; for a node without any, its own."""
    return node.ref_doc_id or node.node_id


def without_sources(nodes: Sequence[Node], failures: Sequence[InputError]) -> list[Node]:
    """Return the nodes (or documents) of all sources that no failure is about."""
    sources = {error.key for error in failures}
    return [node for node in nodes if source_of(node) not in sources]


def remove_nodes(nodes: Sequence[BaseNode], ids: Collection[str]) -> list[BaseNode]:
    """Return the nodes without those of the ids; links that led to one lead past it.

    >>> from llama_index.core.node_parser import SentenceSplitter
    >>> from llama_index.core import Document
    >>> nodes = SentenceSplitter(chunk_size=8, chunk_overlap=0)([Document(text="word. " * 12)])
    >>> first, last = remove_nodes(nodes, {nodes[1].node_id})
    >>> first.next_node.node_id == last.node_id
    True
    """
    if not ids:
        return [*nodes]
    removed = {node.node_id: node for node in nodes if node.node_id in ids}
    kept = [node for node in nodes if node.node_id not in ids]
    for node in kept:
        node.relationships = _relinked(node, removed)
    return kept


def _relinked(
    node: BaseNode, removed: Mapping[str, BaseNode]
) -> dict[NodeRelationship, RelatedNodeInfo | list[RelatedNodeInfo]]:
    links: dict[NodeRelationship, RelatedNodeInfo | list[RelatedNodeInfo]] = {}
    for kind, related in node.relationships.items():
        if isinstance(related, list):
            rest = [each for each in related if each.node_id not in removed]
            if rest:
                links[kind] = rest
            continue
        target = _past(related, kind, removed) if kind in _ALONG else related
        if target is not None:
            links[kind] = target
    return links


def _past(
    related: RelatedNodeInfo, kind: NodeRelationship, removed: Mapping[str, BaseNode]
) -> RelatedNodeInfo | None:
    """Return the first node along a link that was not removed."""
    target: RelatedNodeInfo | None = related
    while target is not None and target.node_id in removed:
        following = removed[target.node_id].relationships.get(kind)
        target = following if isinstance(following, RelatedNodeInfo) else None
    return target
