"""`SearchesInner`: a vector store whose searches are those of the store that it wraps.

What is added to a store is the business of `vector_store`.
"""

from typing import Any

from langchain_core.vectorstores import VectorStore


class _Forwarded:
    """A method of `VectorStore` that is the inner store's."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: "SearchesInner | None", owner: type) -> Any:  # noqa: ANN401
        return self if instance is None else getattr(instance.store, self._name)


class SearchesInner(VectorStore):
    """Searches, deletes and finds rows by their ids as the store `store` does."""

    store: VectorStore

    delete = _Forwarded()
    adelete = _Forwarded()
    get_by_ids = _Forwarded()
    aget_by_ids = _Forwarded()
    search = _Forwarded()
    asearch = _Forwarded()
    similarity_search = _Forwarded()
    asimilarity_search = _Forwarded()
    similarity_search_by_vector = _Forwarded()
    asimilarity_search_by_vector = _Forwarded()
    similarity_search_with_score = _Forwarded()
    asimilarity_search_with_score = _Forwarded()
    similarity_search_with_relevance_scores = _Forwarded()
    asimilarity_search_with_relevance_scores = _Forwarded()
    max_marginal_relevance_search = _Forwarded()
    amax_marginal_relevance_search = _Forwarded()
    max_marginal_relevance_search_by_vector = _Forwarded()
    amax_marginal_relevance_search_by_vector = _Forwarded()
