"""LlamaIndex: parse, index and retrieve; every node knows its siblings."""

from llama_index.core import Document, VectorStoreIndex

from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser

documents = [
    Document(
        text="Grace Hopper was born in New York in 1906. She wrote the first compiler.",
        id_="hopper.txt",
    ),
    Document(
        text="The harbour freezes in January. Ships wait outside until it opens.",
        id_="harbour.txt",
    ),
]

embedding = ContextualEmbedding(model_name="minilm")
index = VectorStoreIndex.from_documents(
    documents, embed_model=embedding, transformations=[ContextualNodeParser(), embedding]
)

(found,) = index.as_retriever(similarity_top_k=1).retrieve("Who wrote the first compiler?")
print(found.node.ref_doc_id)
