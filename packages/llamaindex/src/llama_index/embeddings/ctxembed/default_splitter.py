"""`UsualSplitter`: what `ContextualNodeParser` splits with where it is given nothing else.

Context needs several chunks in one window, so the size of a chunk follows the model where one is
known. Counting tokens is left to LlamaIndex.
"""

from typing import Any

from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode

from ctxembed import Embedder
from ctxembed.lazy import usual_chunk_tokens

DEFAULT_CHUNK_SIZE = 64
"""Tokens, as `SentenceSplitter` counts them: four chunks fit into the smallest window, 256."""


class UsualSplitter(SentenceSplitter):
    """Sentences without overlap, since each chunk sees its neighbours anyway.

    Only text counts, so that long metadata leaves no chunk without room, as it does elsewhere.
    """

    def __init__(self, chunk_size: int = DEFAULT_CHUNK_SIZE, **fields: Any) -> None:
        given: dict[str, Any] = {"chunk_overlap": 0} | fields | {"chunk_size": chunk_size}
        super().__init__(**given)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises the class."""
        return "UsualSplitter"

    @classmethod
    def for_model(cls, embedder: Embedder) -> "UsualSplitter":
        """Return the splitter for a model: chunks of up to a quarter of its window, and 256."""
        return cls(usual_chunk_tokens(embedder.settings, embedder.backend.spec))

    def _get_metadata_str(self, _: BaseNode) -> str:
        return ""
