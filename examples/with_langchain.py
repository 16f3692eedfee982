"""LangChain: split, add to any vector store, and search; every chunk knows its siblings."""

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_ctxembed import ContextualEmbeddings, ContextualTextSplitter, ContextualVectorStore

pages = [
    Document(
        page_content="Grace Hopper was born in New York in 1906.\n\nShe wrote the first compiler.",
        metadata={"source": "hopper.txt"},
    ),
    Document(
        page_content="The harbour freezes in January.\n\nShips wait outside until it opens.",
        metadata={"source": "harbour.txt"},
    ),
]

embeddings = ContextualEmbeddings(model="minilm")
splitter = ContextualTextSplitter(embeddings=embeddings)
store = ContextualVectorStore(InMemoryVectorStore(embeddings))
store.add_documents(splitter.split_documents(pages))

(found,) = store.similarity_search("Who wrote the first compiler?", k=1)
print(found.metadata["source"])
