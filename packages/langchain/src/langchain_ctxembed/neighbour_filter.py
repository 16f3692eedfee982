"""The chunks of a context within a range, in the words of a store's own filter.

Which chunks are wanted is decided in `retriever`.
"""

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from langchain_ctxembed.metadata import CONTEXT_INDEX


def neighbour_filter(
    store: VectorStore, same: Mapping[str, str], first: int, last: int
) -> dict[str, Any]:
    """Return the keywords of a search for chunks `first` to `last` of a context.

    `same` has the metadata that they share. Stores that are not known here get conditions as
    Chroma, PGVector, Pinecone and FAISS take them.
    """
    kinds = {cls.__name__ for cls in type(store).__mro__}
    if "InMemoryVectorStore" in kinds:
        return {"filter": lambda chunk: is_neighbour(chunk, same, first, last)}
    if "QdrantVectorStore" in kinds:
        return {"filter": _qdrant(getattr(store, "metadata_payload_key", ""), same, first, last)}
    if "Milvus" in kinds:
        equal = [f"{key} == {json.dumps(value)}" for key, value in same.items()]
        between = [f"{CONTEXT_INDEX} >= {first}", f"{CONTEXT_INDEX} <= {last}"]
        return {"expr": " and ".join(equal + between)}
    conditions: list[dict[str, Any]] = [{key: {"$eq": value}} for key, value in same.items()]
    conditions += [{CONTEXT_INDEX: {"$gte": first}}, {CONTEXT_INDEX: {"$lte": last}}]
    return {"filter": {"$and": conditions}}


def is_neighbour(chunk: Document, same: Mapping[str, str], first: int, last: int) -> bool:
    """Tell whether a chunk is what the filter asks for."""
    metadata = chunk.metadata
    shares = all(metadata.get(key) == value for key, value in same.items())
    return shares and first <= metadata[CONTEXT_INDEX] <= last


def _qdrant(prefix: str, same: Mapping[str, str], first: int, last: int) -> object:
    models = import_module("qdrant_client.models")
    conditions = [
        models.FieldCondition(key=f"{prefix}.{key}", match=models.MatchValue(value=value))
        for key, value in same.items()
    ]
    between = models.Range(gte=first, lte=last)
    index = models.FieldCondition(key=f"{prefix}.{CONTEXT_INDEX}", range=between)
    return models.Filter(must=[*conditions, index])
