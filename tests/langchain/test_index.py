"""`index()`: what an edit, a rerun and a changed model cost, and what they leave in the store."""

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore
from pplx import CONFIG, SHORT_VOCABULARY, random_tensors, write_pplx

from ctxembed import InputError
from langchain_ctxembed import ContextualVectorStore, context_key


@pytest.fixture
def records():
    manager = InMemoryRecordManager("chunks")
    manager.create_schema()
    return manager


def options(**changes):
    return {
        "cleanup": "scoped_full",
        "source_id_key": "source_id",
        "key_encoder": context_key,
        "batch_size": 4,
    } | changes


@pytest.fixture
def five():
    """Five documents of five chunks."""
    return [
        Document(
            page_content="\n".join(f"Document {d}, part {n}." for n in range(5)),
            metadata={"source": f"file {d}"},
        )
        for d in range(5)
    ]


@pytest.fixture
def counting(fake, registry):
    embeddings, backend = fake()
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)

    def embedded():
        documents = [[chunk.text for chunk in window.chunks] for window in backend.windows]
        backend.batches.clear()
        return documents

    return wrapped, embedded


@pytest.mark.parametrize("batch_size", [2, 4, 100])
def test_one_edited_chunk_embeds_its_document_again_and_no_other(
    counting, records, five, line_splitter, batch_size
):
    wrapped, embedded = counting
    splitter = line_splitter(embeddings=wrapped.embeddings)
    index(splitter.split_documents(five), records, wrapped, **options(batch_size=batch_size))
    assert len(embedded()) == 5
    five[2].page_content = five[2].page_content.replace("part 3", "part three")
    result = index(
        splitter.split_documents(five), records, wrapped, **options(batch_size=batch_size)
    )
    assert embedded() == [five[2].page_content.split("\n")]
    assert result == {"num_added": 5, "num_updated": 0, "num_skipped": 20, "num_deleted": 5}


@pytest.mark.parametrize("cleanup", ["scoped_full", "full", None])
def test_an_identical_rerun_embeds_nothing(counting, records, five, line_splitter, cleanup):
    wrapped, embedded = counting
    splitter = line_splitter(embeddings=wrapped.embeddings)
    index(splitter.split_documents(five), records, wrapped, **options(cleanup=cleanup))
    embedded()
    result = index(splitter.split_documents(five), records, wrapped, **options(cleanup=cleanup))
    assert embedded() == []
    assert (result["num_added"], result["num_deleted"]) == (0, 0)


async def test_the_same_in_async(counting, records, five, line_splitter):
    wrapped, embedded = counting
    splitter = line_splitter(embeddings=wrapped.embeddings)
    await aindex(splitter.split_documents(five), records, wrapped, **options())
    assert len(embedded()) == 5
    five[2].page_content += "\nDocument 2, part 5."
    await aindex(splitter.split_documents(five), records, wrapped, **options())
    assert embedded() == [five[2].page_content.split("\n")]


def test_a_document_that_is_gone_leaves_no_row(counting, records, five, line_splitter):
    wrapped, _ = counting
    splitter = line_splitter()
    index(splitter.split_documents(five), records, wrapped, **options(cleanup="full"))
    index(splitter.split_documents(five[1:]), records, wrapped, **options(cleanup="full"))
    sources = {entry["metadata"]["source"] for entry in wrapped.store.store.values()}
    assert sources == {parent.metadata["source"] for parent in five[1:]}


@pytest.fixture
def other_model(pplx_checkpoint, short_tokenizer_json, tmp_path):
    """A checkpoint of the same shape with other weights."""
    tensors = random_tensors(CONFIG | SHORT_VOCABULARY, seed=1)
    directory = tmp_path / "other"
    write_pplx(directory, short_tokenizer_json, tensors, **SHORT_VOCABULARY)
    return {"model": str(directory)}


@pytest.mark.parametrize(
    "change", [{"dimensions": 8}, {"window_tokens": 16}, {"normalize": False}, "other_model"]
)
def test_changed_settings_index_every_row_again(
    request, embeddings, records, parents, line_splitter, truth_of, change
):
    change = request.getfixturevalue(change) if isinstance(change, str) else change
    rows = {}
    for made in (embeddings, embeddings.model_copy(update=change)):
        store = InMemoryVectorStore(made)
        store.store = rows
        chunks = line_splitter(embeddings=made).split_documents(parents)
        result = index(chunks, records, ContextualVectorStore(store), **options(batch_size=100))
        assert result["num_added"] == len(chunks) == len(rows)
        tolerance = 0.02 if made.normalize else 1
        truth = truth_of(made).of(parents)
        for entry in rows.values():
            row = truth[entry["metadata"]["source"], entry["metadata"]["context_index"]]
            assert np.allclose(entry["vector"], row, atol=tolerance)
    assert result["num_deleted"] == len(chunks)


def test_the_frameworks_own_key_encoders_do_as_well(counting, records, five, line_splitter):
    wrapped, embedded = counting
    splitter = line_splitter()
    index(splitter.split_documents(five), records, wrapped, **options(key_encoder="blake2b"))
    embedded()
    five[0].page_content = five[0].page_content.replace("part 0", "part nought")
    index(splitter.split_documents(five), records, wrapped, **options(key_encoder="blake2b"))
    assert embedded() == [five[0].page_content.split("\n")]


def test_a_failed_run_is_made_good_by_the_next(
    embeddings, records, parents, line_splitter, registry, truth, held
):
    class FailsOnce(InMemoryVectorStore):
        calls = 0

        def add_documents(self, documents, ids=None, **kwargs):
            FailsOnce.calls += 1
            if FailsOnce.calls == 3:
                raise OSError("disk full")
            return super().add_documents(documents, ids, **kwargs)

    wrapped = ContextualVectorStore(FailsOnce(embeddings), registry=registry)
    splitter = line_splitter(embeddings=embeddings)
    with pytest.raises(OSError, match="disk full"):
        index(splitter.split_documents(parents), records, wrapped, **options())
    index(splitter.split_documents(parents), records, wrapped, **options())
    truth.check(parents, held(wrapped.store))


def test_chunks_changed_behind_the_splitters_back_leave_no_stale_sibling(
    embeddings, records, parents, line_splitter, registry, truth, held
):
    wrapped = ContextualVectorStore(InMemoryVectorStore(embeddings), registry=registry)
    splitter = line_splitter(embeddings=embeddings)
    changed = splitter.split_documents(parents)
    changed[1].page_content = "Other terms."
    with pytest.raises(InputError, match="after changing chunks, give stamp_context all chunks"):
        index(changed, records, wrapped, **options(batch_size=100))
    index(splitter.split_documents(parents), records, wrapped, **options())
    truth.check(parents, held(wrapped.store))


# The key


def chunk(text="a", **metadata):
    return Document(page_content=text, metadata=metadata)


def test_the_key_is_a_uuid_of_text_and_metadata():
    from uuid import UUID

    keys = [
        context_key(one)
        for one in (chunk("a"), chunk("b"), chunk("a", x=1), chunk("a", x="1"), chunk("", a=1))
    ]
    assert len({str(UUID(key)) for key in keys}) == 5
    assert context_key(chunk("a", x=1, y=[2])) == context_key(chunk("a", y=[2], x=1))
    assert context_key(chunk("a")) == "45c6654d-a991-f8e8-6a4f-2bd0f7ab6e0e"


def test_metadata_that_gives_no_stable_key_is_refused_without_showing_it():
    with pytest.raises(InputError, match="cannot be written as JSON") as caught:
        context_key(chunk("private", at=object()))
    assert "private" not in str(caught.value)
