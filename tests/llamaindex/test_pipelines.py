"""Ingestion pipelines: caches, upserts and worker processes."""

import copy
import random

import pytest
from llama_index.core import Document
from llama_index.core.extractors import BaseExtractor
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import MetadataMode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from ctxembed import ConfigurationError, InputError
from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser


async def run(pipeline, is_async, **keywords):
    return await pipeline.arun(**keywords) if is_async else pipeline.run(**keywords)


def remembered(nodes, texts):
    """Keep the texts of nodes beside the in-memory store, which keeps none."""
    texts.update({node.node_id: node.get_content(MetadataMode.NONE) for node in nodes})


def stored(pipeline, texts):
    data = pipeline.vector_store.data
    return [
        (data.text_id_to_ref_doc_id[key], texts[key], row)
        for key, row in data.embedding_dict.items()
    ]


@pytest.fixture
def asked(monkeypatch):
    """A list to which every call of the core adds its number of documents."""
    from ctxembed import Embedder

    asked = []
    sync, coroutine = Embedder.stream, Embedder.astream

    def stream(self, documents, **keywords):
        documents = [*documents]
        asked.append(len(documents))
        return sync(self, documents, **keywords)

    def astream(self, documents, **keywords):
        documents = [*documents]
        asked.append(len(documents))
        return coroutine(self, documents, **keywords)

    monkeypatch.setattr(Embedder, "stream", stream)
    monkeypatch.setattr(Embedder, "astream", astream)
    return asked


both = pytest.mark.parametrize("is_async", [False, True])


@both
async def test_shuffled_documents_and_nodes(embedding, parser, documents, check, is_async):
    random.Random(1).shuffle(documents)
    pipeline = IngestionPipeline(transformations=[parser, embedding])
    nodes = await run(pipeline, is_async, documents=documents)
    check(nodes, documents)
    shuffled = parser(documents)
    random.Random(2).shuffle(shuffled)
    pipeline = IngestionPipeline(transformations=[embedding])
    nodes = await run(pipeline, is_async, nodes=shuffled)
    assert [node.node_id for node in nodes] == [node.node_id for node in shuffled]
    check(nodes, documents)


@both
async def test_one_changed_sentence_replaces_its_document_and_embeds_nothing_else(
    embedding, parser, documents, document_of, check, is_async, asked
):
    pipeline = IngestionPipeline(
        transformations=[parser, embedding],
        docstore=SimpleDocumentStore(),
        vector_store=SimpleVectorStore(),
    )
    texts = {}
    remembered(await run(pipeline, is_async, documents=documents), texts)
    check(stored(pipeline, texts), documents)
    assert asked == [12]

    first, _, *others = documents[7].text.split(". ")
    edited = document_of(7, ". ".join([first, "The bridge was never built", *others]))
    fresh = [document_of(n, each.text) for n, each in enumerate(documents)]
    fresh[7] = edited
    before = pipeline.vector_store.data.embedding_dict.copy()
    remembered(await run(pipeline, is_async, documents=fresh), texts)
    check(stored(pipeline, texts), fresh)
    assert asked == [12, 1]
    sources = pipeline.vector_store.data.text_id_to_ref_doc_id
    kept = pipeline.vector_store.data.embedding_dict
    assert all(row == before[key] for key, row in kept.items() if sources[key] != "tale-7")
    assert not any(key in before for key in kept if sources[key] == "tale-7")

    assert await run(pipeline, is_async, documents=fresh) == []
    assert asked == [12, 1]
    check(stored(pipeline, texts), fresh)


@both
async def test_an_unchanged_run_is_answered_from_the_cache_also_from_disk(
    transformations, documents, check, is_async, asked, tmp_path
):
    pipeline = IngestionPipeline(transformations=transformations)
    await run(pipeline, is_async, documents=documents)
    pipeline.persist(str(tmp_path))
    again = IngestionPipeline(transformations=copy.deepcopy(transformations))
    again.load(str(tmp_path))
    nodes = await run(again, is_async, documents=documents)
    assert asked == [12]
    check(nodes, documents)


@both
async def test_two_groupings_of_the_same_texts_through_one_cache(
    embedding, splitter, contextual, is_right, is_async
):
    one, two, three = (
        f"The {name} crossed a very wide river in flood on the way to the old town, they say."
        for name in ("king", "miller", "wolf")
    )
    cache = IngestionCache()
    for groups in (
        [[one, two], [three]],
        [[one], [two, three]],
        [[one, two, three]],
        [[two, one]],
    ):
        documents = [
            Document(text=" ".join(group), id_=f"d{number}") for number, group in enumerate(groups)
        ]
        pipeline = IngestionPipeline(
            transformations=[ContextualNodeParser(inner=splitter), embedding], cache=cache
        )
        nodes = await run(pipeline, is_async, documents=documents)
        for number, group in enumerate(groups):
            mine = [node for node in nodes if node.ref_doc_id == f"d{number}"]
            assert [node.text for node in mine] == group
            for node, right in zip(mine, contextual(group), strict=True):
                assert is_right(node.embedding, right)


@both
async def test_equal_nodes_of_another_document_are_not_answered_from_the_cache(
    embedding, parser, document_of, is_async
):
    pipeline = IngestionPipeline(transformations=[embedding])
    for key in ("first", "second"):
        document = document_of(0)
        document.id_ = key
        nodes = await run(pipeline, is_async, nodes=parser([document]))
        assert {node.ref_doc_id for node in nodes} == {key}


CHANGES = [
    {"dimensions": 16},
    {"encoding": "float"},
    {"encoding": "binary", "normalize": False},
    {"normalize": False},
    {"window_tokens": 40, "overlap_tokens": 0},
    {"context_weight": 0.5},
    {"document_prefix": "passage: "},
    {"metadata_mode": MetadataMode.NONE},
    {"metadata_once": True},
]


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_changed_setting_is_never_answered_from_the_cache(
    embedding, splitter, documents, change, steps, asked
):
    cache = IngestionCache()

    def vectors(model, cache):
        transformations = [ContextualNodeParser(inner=splitter), model]
        if steps == 1:
            transformations = [ContextualNodeParser(inner=splitter, embed_model=model)]
        pipeline = IngestionPipeline(transformations=transformations, cache=cache)
        return [node.embedding for node in pipeline.run(documents=documents[:3])]

    before = vectors(embedding, cache)
    changed = ContextualEmbedding.from_dict(embedding.to_dict() | change)
    after = vectors(changed, cache)
    assert asked == [3, 3]
    assert after == vectors(changed, IngestionCache())
    assert after != before or change == {"encoding": "float"}
    assert vectors(embedding, cache) == before
    assert asked == [3, 3, 3]


def test_changed_weights_under_one_name_are_not_answered_from_the_cache(
    parser, documents, pplx_checkpoint, tmp_path
):
    from pplx import CONFIG, random_tensors, write_pplx

    tokenizer = (pplx_checkpoint / "tokenizer.json").read_text()
    cache = IngestionCache()
    found = []
    for seed in (1, 2):
        write_pplx(tmp_path / "model", tokenizer, random_tensors(CONFIG, seed))
        model = ContextualEmbedding(model_name=str(tmp_path / "model"), device="cpu")
        pipeline = IngestionPipeline(transformations=[parser, model], cache=cache)
        found.append(pipeline.run(documents=documents[:2])[0].embedding)
    assert found[0] != found[1]


class Numbered(BaseExtractor):
    """Adds metadata after the split, as extractors do."""

    async def aextract(self, nodes):
        return [{"number": len(node.get_content("none"))} for node in nodes]


def test_metadata_from_an_extractor_is_read(embedding, parser, documents, contextual, is_right):
    pipeline = IngestionPipeline(transformations=[parser, Numbered(), embedding])
    nodes = [node for node in pipeline.run(documents=documents) if node.ref_doc_id == "tale-2"]
    texts = [node.get_content(MetadataMode.EMBED) for node in nodes]
    assert all(f"number: {len(n.text)}" in text for n, text in zip(nodes, texts, strict=True))
    right = contextual(texts)
    assert all(is_right(node.embedding, row) for node, row in zip(nodes, right, strict=True))


# Threads and forks: LlamaIndex's async workers are forked from a process that has threads.
workers = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Specified num_workers exceed number of CPUs:UserWarning"),
    pytest.mark.usefixtures("vocabulary"),
]


def with_workers(test):
    for mark in workers:
        test = mark(test)
    return test


@with_workers
@pytest.mark.parametrize(("is_async", "steps"), [(False, 2), (True, 1)])
async def test_documents_through_two_worker_processes(
    embedding, splitter, documents, check, is_async, steps
):
    embedding.get_query_embedding("the model is loaded here before the workers start")
    transformations = [ContextualNodeParser(inner=splitter), embedding]
    if steps == 1:
        transformations = [ContextualNodeParser(inner=splitter, embed_model=embedding)]
    pipeline = IngestionPipeline(
        transformations=transformations,
        docstore=SimpleDocumentStore(),
        vector_store=SimpleVectorStore(),
    )
    texts = {}
    nodes = await run(pipeline, is_async, documents=documents, num_workers=2)
    remembered(nodes, texts)
    check(stored(pipeline, texts), documents)
    assert await run(pipeline, is_async, documents=documents, num_workers=2) == []


@with_workers
@pytest.mark.parametrize(("is_async", "stamped"), [(False, True), (True, False)])
async def test_nodes_cut_across_workers_are_refused_with_the_reason(
    embedding, splitter, documents, is_async, stamped
):
    split = ContextualNodeParser(inner=splitter) if stamped else splitter
    pipeline = IngestionPipeline(transformations=[embedding])
    nodes = split(documents[:3])
    assert nodes[len(nodes) // 2 - 1].ref_doc_id == nodes[len(nodes) // 2].ref_doc_id
    with pytest.raises(InputError, match="with num_workers, give documents") as info:
        await run(pipeline, is_async, nodes=nodes, num_workers=2)
    assert info.value.key in {document.id_ for document in documents}


@with_workers
@both
async def test_a_parser_that_workers_cannot_get_is_refused_and_not_replaced(
    embedding, documents, is_async
):
    class Local(SentenceSplitter):
        pass

    parser = ContextualNodeParser(inner=Local(chunk_size=32, chunk_overlap=0))
    pipeline = IngestionPipeline(transformations=[parser, embedding])
    with pytest.raises(ConfigurationError, match=r"inner \(Local\) cannot be pickled"):
        await run(pipeline, is_async, documents=documents, num_workers=2)


@with_workers
@pytest.mark.parametrize("is_async", [True])
async def test_nodes_cut_between_documents_are_right(
    embedding, splitter, document_of, check, is_async
):
    documents = [document_of(0), document_of(3)]
    nodes = SentenceSplitter(chunk_size=32, chunk_overlap=0)(documents)
    assert nodes[len(nodes) // 2 - 1].ref_doc_id != nodes[len(nodes) // 2].ref_doc_id
    pipeline = IngestionPipeline(transformations=[embedding])
    check(await run(pipeline, is_async, nodes=nodes, num_workers=2), documents)


def test_missing_siblings_can_be_ignored(embedding, parser, documents, contextual, is_right):
    lenient = embedding.model_copy(update={"missing_siblings": "ignore"})
    kept = parser(documents[:1])[1:]
    lenient(kept)
    right = contextual([node.get_content(MetadataMode.EMBED) for node in kept])
    assert all(is_right(node.embedding, row) for node, row in zip(kept, right, strict=True))
