"""Contextual chunk embeddings for LlamaIndex: a node is embedded together with its siblings."""

from llama_index.embeddings.ctxembed.embedding import ContextualEmbedding
from llama_index.embeddings.ctxembed.ingestion import aingest, ingest
from llama_index.embeddings.ctxembed.node_parser import ContextualNodeParser
from llama_index.embeddings.ctxembed.stamping import stamp_context

__all__ = ["ContextualEmbedding", "ContextualNodeParser", "aingest", "ingest", "stamp_context"]
