"""What LangChain's own traces say of a search: the inner store and the model by their names."""

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_ctxembed import ContextualEmbeddings, ContextualVectorStore
from langchain_ctxembed.trace_metadata import trace_metadata


class Runs(BaseCallbackHandler):
    def __init__(self):
        self.metadata = []
        self.tags = []

    def on_retriever_start(self, serialized, query, *, tags, metadata, **kwargs):
        self.tags.append(tags)
        self.metadata.append(metadata)


@pytest.mark.parametrize("sync", [True, False])
@pytest.mark.parametrize("given", [None, {"team": "a", "ls_embedding_model": "mine"}])
async def test_a_search_names_the_inner_store_and_the_model(fake, given, sync):
    embeddings, _ = fake()
    runs = Runs()
    options = {} if given is None else {"metadata": given}
    retriever = ContextualVectorStore(InMemoryVectorStore(embeddings)).as_retriever(**options)
    config = {"callbacks": [runs]}
    if sync:
        retriever.invoke("words", config)
    else:
        await retriever.ainvoke("words", config)

    expected = {
        "ls_vector_store_provider": "InMemoryVectorStore",
        "ls_embedding_provider": "ContextualEmbeddings",
        "ls_embedding_model": "minilm",
    } | (given or {})
    (metadata,) = runs.metadata
    assert {name: metadata.get(name) for name in expected} == expected
    assert runs.tags == [["ContextualVectorStore", "ContextualEmbeddings"]]


def test_a_directory_is_named_by_its_last_part(tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    embeddings = ContextualEmbeddings(model=str(folder))
    found = trace_metadata(InMemoryVectorStore(embeddings), embeddings)

    assert found["ls_embedding_model"] == "my-model"
