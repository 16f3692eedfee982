"""LangChain's own suite for vector stores, on the wrapper over Chroma on disk."""

import pytest
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from langchain_ctxembed import ContextualVectorStore

pytestmark = pytest.mark.stores


class TestWrapperOverChroma(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, embeddings, tmp_path):
        chroma = pytest.importorskip("langchain_chroma", reason="see nox -s tests-stores")
        store = chroma.Chroma(embedding_function=embeddings, persist_directory=str(tmp_path))
        yield ContextualVectorStore(store)
        store._client.close()
