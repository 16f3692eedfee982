"""Contextual chunk embeddings for LlamaIndex; the adapter is not built yet."""
