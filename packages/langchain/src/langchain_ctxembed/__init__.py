"""Contextual chunk embeddings for LangChain; the adapter is not built yet."""
