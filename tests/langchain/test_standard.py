"""LangChain's own suites for embeddings and vector stores, nothing skipped or overridden."""

import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_ctxembed import ContextualEmbeddings, ContextualVectorStore


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self):
        return ContextualEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": "minilm"}

    @property
    def init_from_env_params(self):
        return {"PERPLEXITY_API_KEY": "a key"}, {"model": "minilm"}, {"api_key": "a key"}


class TestEmbeddingsIntegration(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _checkpoint(self, pplx_checkpoint):
        self.directory = str(pplx_checkpoint)

    @property
    def embeddings_class(self):
        return ContextualEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": self.directory}


class TestWrapperOverMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, embeddings):
        return ContextualVectorStore(InMemoryVectorStore(embeddings))
