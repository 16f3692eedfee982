"""Contextual chunk embeddings for LlamaIndex: every node embedded with the others of its document."""

from llama_index.embeddings.ctxembed.embedding import ContextualEmbedding
from llama_index.embeddings.ctxembed.node_parser import ContextualNodeParser

__all__ = ["ContextualEmbedding", "ContextualNodeParser"]
