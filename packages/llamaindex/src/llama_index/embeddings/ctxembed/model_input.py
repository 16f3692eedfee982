"""`ModelInput`: the text of a document's nodes that the model reads, and which rows are theirs."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode

from ctxembed import Array, DocumentTooLongError, EmbedError, to_floats
from ctxembed.lazy import located_errors
from llama_index.embeddings.ctxembed.node_metadata import stamp_keys
from llama_index.embeddings.ctxembed.siblings import Siblings


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One document as the model reads it: shared metadata, if any, and one text per node.

    `source` is the id of the source document; for a node without any, its own.
    """

    source: str
    nodes: list[BaseNode]
    shared_metadata: str
    texts: list[str]

    @property
    def chunks(self) -> list[str]:
        """The chunks to embed together; shared metadata is a chunk of its own in front."""
        return [self.shared_metadata, *self.texts] if self.shared_metadata else self.texts

    def vectors(self, rows: Array) -> list[list[float]]:
        """Return the rows of the nodes among those of the chunks."""
        return to_floats(rows[1:] if self.shared_metadata else rows)


def model_input(siblings: Siblings, mode: MetadataMode, *, metadata_once: bool) -> ModelInput:
    """Return what the model reads of siblings.

    With `metadata_once`, metadata that all of them share is read once, as a chunk of its own before
    the others. Metadata that differs stays in front of each text.
    """
    nodes = siblings.nodes
    shared = _shared(nodes) if metadata_once else {}
    told = {key: value for key, value in shared.items() if key not in stamp_keys(nodes[0])}
    header = nodes[0].model_copy(update={"metadata": told}).get_metadata_str(mode).strip()
    texts = [_without(node, {*stamp_keys(node), *shared}).get_content(mode) for node in nodes]
    return ModelInput(siblings.key or nodes[0].node_id, nodes, header, texts)


def set_embeddings(inputs: Sequence[ModelInput], vectors: Sequence[list[list[float]]]) -> None:
    """Give every node of all documents its vector."""
    for each, rows in zip(inputs, vectors, strict=True):
        for node, row in zip(each.nodes, rows, strict=True):
            node.embedding = row


def _shared(nodes: Sequence[BaseNode]) -> dict[str, Any]:
    """Return the metadata that reads alike in all nodes, and is excluded alike in all."""
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


@contextmanager
def located(inputs: Sequence[ModelInput]) -> Iterator[None]:
    """Let errors name the source document, and count its nodes without the shared metadata."""
    with (
        located_errors(lambda number: (number, inputs[number].source), "source document"),
        parser_named(),
    ):
        try:
            yield
        except EmbedError as error:
            if error.document is None:
                raise
            raise without_shared(error, inputs[error.document]) from error.__cause__


@contextmanager
def parser_named() -> Iterator[None]:
    """Let the error of a text that is too long name what splits for the model."""
    try:
        yield
    except DocumentTooLongError as error:
        hint = "Or split with ContextualNodeParser() among the transformations, before this."
        raise error.at(f"{error.message} {hint}") from error.__cause__


def without_shared(error: EmbedError, of: ModelInput) -> EmbedError:
    """Return an error of a document whose `chunk` counts nodes: shared metadata is none of them."""
    if error.chunk is None or not of.shared_metadata:
        return error
    if error.chunk:
        return error.at(chunk=error.chunk - 1)
    return error.at(f"the metadata that its nodes share {error.message}", chunk=None)
