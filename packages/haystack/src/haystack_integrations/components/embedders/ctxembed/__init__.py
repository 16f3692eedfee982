"""Contextual chunk embeddings for Haystack; the adapter is not built yet."""
