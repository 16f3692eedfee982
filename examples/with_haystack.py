"""Haystack: split, embed, write and retrieve; every document knows the others of its source."""

from haystack import Document, Pipeline
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
    ContextualTextEmbedder,
)

documents = [
    Document(content="Grace Hopper was born in 1906. She wrote the first compiler.", id="hopper"),
    Document(content="The harbour freezes in January. Ships wait until it opens.", id="harbour"),
]

store = InMemoryDocumentStore(embedding_similarity_function="cosine")
indexing = Pipeline()
indexing.add_component("split", DocumentSplitter(split_by="period", split_length=1))
indexing.add_component("embed", ContextualDocumentEmbedder(model="minilm", progress_bar=False))
indexing.add_component("write", ContextualDocumentWriter(store))
indexing.connect("split", "embed")
indexing.connect("embed", "write")
indexing.run({"split": {"documents": documents}})

asking = Pipeline()
asking.add_component("embed", ContextualTextEmbedder(model="minilm"))
asking.add_component("retrieve", InMemoryEmbeddingRetriever(store, top_k=1))
asking.connect("embed.embedding", "retrieve.query_embedding")
(found,) = asking.run({"embed": {"text": "Who wrote the first compiler?"}})["retrieve"][
    "documents"
]
print(found.meta["source_id"])
