"""Identical documents of which one goes: what docs/llamaindex.md claims."""

import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser, ingest


@pytest.mark.parametrize("run", [IngestionPipeline.run, ingest])
@pytest.mark.parametrize("told_apart", [True, False])
def test_one_of_two_identical_documents_goes_where_metadata_tells_them_apart(
    fake, run, told_apart
):
    pipeline = IngestionPipeline(
        transformations=[ContextualNodeParser(), ContextualEmbedding(model_name="minilm")],
        docstore=SimpleDocumentStore(),
        docstore_strategy="upserts_and_delete",
        vector_store=SimpleVectorStore(),
    )
    first, second = (
        Document(text="Same words.", id_=name, metadata={"name": name} if told_apart else {})
        for name in "ab"
    )
    run(pipeline, documents=[first, second])
    run(pipeline, documents=[second])
    left = set(pipeline.vector_store.data.text_id_to_ref_doc_id.values())
    assert left == ({"b"} if told_apart else {"a", "b"})
