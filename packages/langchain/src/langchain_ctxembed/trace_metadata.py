"""What a trace says of a search, beside the names of the wrapper's classes."""

from pathlib import Path
from typing import Any

from langchain_core.vectorstores import VectorStore

from langchain_ctxembed.embeddings import ContextualEmbeddings


def trace_metadata(store: VectorStore, embeddings: ContextualEmbeddings) -> dict[str, Any]:
    """Return LangChain's own keys for traces, with the inner store and the model.

    The embedding provider is left as LangChain names it. Of a model's directory only the last part
    is shown.
    """
    path = Path(embeddings.model)
    return {
        "ls_vector_store_provider": type(store).__name__,
        "ls_embedding_model": path.resolve().name if path.is_dir() else embeddings.model,
    }
