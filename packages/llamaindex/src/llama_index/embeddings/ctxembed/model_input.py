"""`Reading`: what the model reads of one document's nodes, and which rows are theirs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode

from ctxembed import Array, to_floats
from llama_index.embeddings.ctxembed.metadata import stamp_keys
from llama_index.embeddings.ctxembed.siblings import Siblings


@dataclass(frozen=True, slots=True)
class Reading:
    """One document as the model reads it: a header of its own or none, then a text a node."""

    key: str | None
    nodes: list[BaseNode]
    header: str
    texts: list[str]

    @property
    def chunks(self) -> list[str]:
        """The chunks to embed together."""
        return [self.header, *self.texts] if self.header else self.texts

    def rows(self, embedded: Array) -> list[list[float]]:
        """Return one vector a node; the header's is left out."""
        return to_floats(embedded[1:] if self.header else embedded)


def read(siblings: Siblings, mode: MetadataMode, *, metadata_once: bool) -> Reading:
    """Return what the model reads of siblings.

    With `metadata_once`, metadata that all of them share is a chunk of its own before the others; what
    differs stays in front of each text.
    """
    nodes = siblings.nodes
    shared = _shared(nodes) if metadata_once else {}
    told = {key: value for key, value in shared.items() if key not in stamp_keys(nodes[0])}
    header = nodes[0].model_copy(update={"metadata": told}).get_metadata_str(mode).strip()
    texts = [_without(node, {*stamp_keys(node), *shared}).get_content(mode) for node in nodes]
    return Reading(siblings.key, nodes, header, texts)


def _shared(nodes: Sequence[BaseNode]) -> dict[str, Any]:
    """Return the metadata that reads alike in all nodes, and may be read by the same in all."""
    first, *others = nodes
    return {
        key: value
        for key, value in first.metadata.items()
        if all(_entry(node, key) == _entry(first, key) for node in others)
    }


def _entry(node: BaseNode, key: str) -> tuple[str, bool, bool] | None:
    if key not in node.metadata:
        return None
    line = node.metadata_template.format(key=key, value=str(node.metadata[key]))
    return (
        line + node.metadata_separator,
        key in node.excluded_embed_metadata_keys,
        key in node.excluded_llm_metadata_keys,
    )


def _without(node: BaseNode, keys: Collection[str]) -> BaseNode:
    rest = {key: value for key, value in node.metadata.items() if key not in keys}
    return node.model_copy(update={"metadata": rest})
