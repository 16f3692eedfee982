"""ctxembed for LangChain: every chunk embedded with the other chunks of its document.

Split with `ContextualTextSplitter`, wrap the store in `ContextualVectorStore`, search as before.
"""

from langchain_ctxembed.embeddings import ContextualEmbeddings
from langchain_ctxembed.metadata import context_key
from langchain_ctxembed.retriever import ContextFilter, ContextualRetriever
from langchain_ctxembed.sibling_registry import REGISTRY, ContextRegistry
from langchain_ctxembed.siblings import register_chunks, stamp_context
from langchain_ctxembed.text_splitter import ContextualTextSplitter
from langchain_ctxembed.vector_store import ContextualVectorStore

__all__ = [
    "REGISTRY",
    "ContextFilter",
    "ContextRegistry",
    "ContextualEmbeddings",
    "ContextualRetriever",
    "ContextualTextSplitter",
    "ContextualVectorStore",
    "context_key",
    "register_chunks",
    "stamp_context",
]
