"""What is seen of a run under way: a bar, and events that begin and end as documents do."""

import pickle
import re
from dataclasses import replace

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
)

from ctxembed import BackendError
from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser

both = pytest.mark.parametrize("is_async", [False, True])


def documents_of(texts):
    return [Document(text=text, id_=f"d{number}") for number, text in enumerate(texts)]


@pytest.fixture
def seen():
    """The kinds of the embedding events, in order."""
    kinds = []

    class Recorder(BaseEventHandler):
        def handle(self, event, **_):
            if isinstance(event, EmbeddingStartEvent | EmbeddingEndEvent):
                kinds.append("start" if isinstance(event, EmbeddingStartEvent) else "end")

    handler = Recorder()
    get_dispatcher().add_event_handler(handler)
    yield kinds
    get_dispatcher().event_handlers.remove(handler)


@both
async def test_a_bar_of_documents_chunks_and_tokens_where_the_framework_passes_nothing_on(
    fake, splitter, capsys, is_async
):
    embedding = ContextualEmbedding(model_name="fake", show_progress=True)
    parser = ContextualNodeParser(inner=splitter)
    sentence = "One sentence of some seven whole words. "
    documents = documents_of([sentence * 8, sentence * 4])
    chunks = len(parser(documents))
    assert chunks > 2
    told = f"{chunks} chunks, {12 * 7 + chunks - 2} tokens"  # and a separator between two chunks
    pipeline = IngestionPipeline(transformations=[parser, embedding])
    if is_async:
        await pipeline.arun(documents=documents)
    else:
        pipeline.run(documents=documents)
    drawn = capsys.readouterr().err
    assert "2/2" in drawn
    assert told in drawn
    assert re.search(r"2/2 documents, .* tokens, [\d,]+ tokens/s", drawn)
    VectorStoreIndex.from_documents(
        documents, transformations=[parser, embedding], embed_model=embedding
    )
    assert told in capsys.readouterr().err
    pipeline.transformations[-1].show_progress = False
    pipeline.run(documents=documents_of(["Other words."]))
    assert capsys.readouterr().err == ""


@both
async def test_the_bar_counts_cached_documents_too(fake, capsys, tmp_path, is_async):
    embedding = ContextualEmbedding(model_name="fake", show_progress=True, cache=str(tmp_path))
    for _ in range(2):
        nodes = documents_of(["Some words.", "Other words."])
        await embedding.acall(nodes) if is_async else embedding(nodes)
    first, second = capsys.readouterr().err.strip().split("\n")
    assert "2/2 documents, 2 chunks, 4 tokens, " in first
    assert "2/2 documents, 2 cached, 2 chunks, 0 tokens, " in second


def test_the_bar_is_in_no_cache_key_and_goes_with_a_pickle():
    shown = ContextualEmbedding(show_progress=True)
    assert shown.to_dict() == ContextualEmbedding().to_dict()
    assert pickle.loads(pickle.dumps(shown)).show_progress is True


@both
async def test_events_end_while_other_documents_have_not_begun(fake, seen, is_async):
    fake.limits = replace(fake.limits, batch_tokens=8)
    embedding = ContextualEmbedding(model_name="fake")
    nodes = documents_of([f"{number} {'word ' * 40}" for number in range(60)])
    await embedding.acall(nodes) if is_async else embedding(nodes)
    assert seen.count("start") == seen.count("end") == 60
    assert seen.index("end") < 30
    for place in range(120):
        assert seen[:place].count("end") <= seen[:place].count("start")


@both
async def test_a_model_that_fails_leaves_the_documents_behind_it_unbegun(fake, seen, is_async):
    def fault(batch):
        if len(fake.batches) == 5:
            raise BackendError("no vectors")

    fake.limits = replace(fake.limits, batch_tokens=8)
    fake._fault = fault
    embedding = ContextualEmbedding(model_name="fake")
    nodes = documents_of([f"{number} {'word ' * 40}" for number in range(60)])
    with pytest.raises(BackendError, match="no vectors"):
        await embedding.acall(nodes) if is_async else embedding(nodes)
    assert seen.count("end") == 4
    assert 4 < seen.count("start") < 60
    assert all(node.embedding is None for node in nodes)
