"""Stores x ways in: every stored vector is that of its chunk among its siblings, by value."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from inspect import iscoroutinefunction

import pytest
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from langchain_ctxembed import ContextualVectorStore, context_key

STRADDLING = 4
CLEANUPS = [None, "incremental", "scoped_full", "full"]


def slices(chunks, size):
    return [chunks[start : start + size] for start in range(0, len(chunks), size)]


@pytest.fixture
def chunks(line_splitter, embeddings, parents):
    return line_splitter(embeddings=embeddings).split_documents(parents)


@pytest.fixture
def wrapped(request, kind, embeddings, registry, closing):
    store = kind.open(embeddings, aio=iscoroutinefunction(request.function))
    closing(store)
    return ContextualVectorStore(store, registry=registry)


def test_add_documents_in_one_call(kind, wrapped, chunks, parents, truth):
    wrapped.add_documents(chunks, ids=[context_key(chunk) for chunk in chunks])
    truth.check(parents, kind.rows(wrapped.store))


@pytest.mark.parametrize("size", [1, STRADDLING, 33])
def test_add_documents_in_slices(kind, wrapped, chunks, parents, truth, size):
    for part in slices(chunks, size):
        wrapped.add_documents(part, ids=[context_key(chunk) for chunk in part])
    truth.check(parents, kind.rows(wrapped.store))


async def test_aadd_documents(kind, wrapped, chunks, parents, truth):
    for part in slices(chunks, 33):
        await wrapped.aadd_documents(part, ids=[context_key(chunk) for chunk in part])
    truth.check(parents, kind.rows(wrapped.store))


def test_from_documents(kind, embeddings, registry, chunks, parents, truth, closing):
    built = ContextualVectorStore.from_documents(
        chunks, embeddings, store_cls=kind.cls, registry=registry, **kind.options
    )
    closing(built.store)
    truth.check(parents, kind.rows(built.store))


async def test_afrom_documents(kind, embeddings, registry, chunks, parents, truth, closing):
    built = await ContextualVectorStore.afrom_documents(
        chunks, embeddings, store_cls=kind.cls, registry=registry, **kind.options
    )
    closing(built.store)
    truth.check(parents, kind.rows(built.store))


@pytest.mark.parametrize("batch_size", [STRADDLING, 100])
@pytest.mark.parametrize("cleanup", CLEANUPS)
def test_index(kind, wrapped, chunks, parents, truth, cleanup, batch_size):
    records = InMemoryRecordManager("chunks")
    records.create_schema()
    options = {
        "cleanup": cleanup,
        "batch_size": batch_size,
        "source_id_key": "source_id",
        "key_encoder": context_key,
    }
    index(chunks, records, wrapped, **options)
    truth.check(parents, kind.rows(wrapped.store))
    index(chunks, records, wrapped, **options)
    truth.check(parents, kind.rows(wrapped.store))


@pytest.mark.parametrize("batch_size", [STRADDLING, 100])
@pytest.mark.parametrize("cleanup", CLEANUPS)
async def test_aindex(kind, wrapped, chunks, parents, truth, cleanup, batch_size):
    records = InMemoryRecordManager("chunks")
    await records.acreate_schema()
    options = {
        "cleanup": cleanup,
        "batch_size": batch_size,
        "source_id_key": "source_id",
        "key_encoder": context_key,
    }
    await aindex(chunks, records, wrapped, **options)
    truth.check(parents, kind.rows(wrapped.store))
    await aindex(chunks, records, wrapped, **options)
    truth.check(parents, kind.rows(wrapped.store))


@pytest.mark.parametrize("cleanup", ["incremental", "scoped_full", "full"])
def test_an_edit_leaves_no_stale_row(
    kind, wrapped, line_splitter, embeddings, parents, truth, cleanup
):
    records = InMemoryRecordManager("chunks")
    records.create_schema()
    options = {
        "cleanup": cleanup,
        "batch_size": STRADDLING,
        "source_id_key": "source_id",
        "key_encoder": context_key,
    }
    splitter = line_splitter(embeddings=embeddings)
    index(splitter.split_documents(parents), records, wrapped, **options)
    parents[0].page_content = parents[0].page_content.replace("It grew.", "It fell.")
    index(splitter.split_documents(parents), records, wrapped, **options)
    truth.check(parents, kind.rows(wrapped.store))


def test_threads(kind, wrapped, chunks, parents, truth):
    if not kind.threads:
        pytest.skip("the store itself isn't safe in threads")
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda part: wrapped.add_documents(part, ids=[context_key(c) for c in part]),
                slices(chunks, 6),
            )
        )
    truth.check(parents, kind.rows(wrapped.store))


async def test_gather(kind, wrapped, chunks, parents, truth):
    if not kind.threads:
        pytest.skip("async of this store runs in threads, and the store itself isn't safe in them")

    async def add(part):
        await wrapped.aadd_documents(part, ids=[context_key(chunk) for chunk in part])

    first, *others = slices(chunks, 6)
    await add(first)  # some stores make their tables on the first write, and not in tasks at once
    await asyncio.gather(*map(add, others))
    truth.check(parents, kind.rows(wrapped.store))


def test_retrieval_finds_a_chunk_by_its_own_contextual_vector(
    kind, wrapped, chunks, parents, truth
):
    wrapped.add_documents(chunks, ids=[context_key(chunk) for chunk in chunks])
    row = truth.of(parents)["c", 2]
    (found,) = wrapped.similarity_search_by_vector(row.tolist(), k=1)
    assert (found.metadata["source"], int(found.metadata["context_index"])) == ("c", 2)
