"""The same texts again: in other documents, under another id, hidden otherwise, twice at once."""

import copy

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import MetadataMode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore

from ctxembed import InputError


async def run(pipeline, is_async, **keywords):
    return await pipeline.arun(**keywords) if is_async else pipeline.run(**keywords)


both = pytest.mark.parametrize("is_async", [False, True])


def right_as_read(nodes, contextual, is_right):
    """Tell whether the nodes of one document have the vectors of what may be read of them."""
    expected = contextual([node.get_content(MetadataMode.EMBED) for node in nodes])
    return all(is_right(node.embedding, row) for node, row in zip(nodes, expected, strict=True))


@both
async def test_two_documents_with_one_id_are_refused(parser, document_of, is_async):
    first, second = document_of(0), document_of(1)
    second.id_ = first.id_
    with pytest.raises(InputError, match="is the id of two documents in this call") as info:
        await parser.acall([first, second]) if is_async else parser([first, second])
    assert info.value.key == "tale-0"
    assert parser([first])
    assert parser([second])


def test_two_versions_of_a_document_are_two_contexts(
    embedding, parser, document_of, contextual, is_right
):
    old, new = document_of(0), document_of(0, document_of(0).text.replace("1802", "1902"))
    before, after = parser([old]), parser([new])
    embedding([*after[::-1], *before])
    assert right_as_read(before, contextual, is_right)
    assert right_as_read(after, contextual, is_right)


@both
async def test_nodes_that_hide_other_metadata_are_not_answered_from_the_cache(
    embedding, parser, document_of, contextual, is_right, is_async
):
    pipeline = IngestionPipeline(transformations=[embedding])
    for hidden in ([], ["title"], []):
        document = document_of(0)
        document.excluded_embed_metadata_keys = hidden
        nodes = await run(pipeline, is_async, nodes=parser([document]))
        assert nodes[0].get_content(MetadataMode.EMBED).startswith("title") == (not hidden)
        assert right_as_read(nodes, contextual, is_right)


@pytest.mark.parametrize("steps", [1, 2])
@both
async def test_without_the_cache_ids_hidden_metadata_and_borders_all_count(
    embedding, splitter, parser, contextual, is_right, is_async, steps
):
    one, two, three = (
        f"The {name} crossed a very wide river in flood on the way to the old town, they say. "
        for name in ("king", "miller", "wolf")
    )
    whole = parser.model_copy(update={"embed_model": embedding})
    pipeline = IngestionPipeline(
        transformations=[whole] if steps == 1 else [parser, embedding],
        cache=IngestionCache(),
        disable_cache=True,
    )
    for documents in (
        [Document(text=one + two, id_="a"), Document(text=three, id_="b")],
        [Document(text=one, id_="a"), Document(text=two + three, id_="b")],
        [Document(text=one, id_="c"), Document(text=two + three, id_="d")],
    ):
        nodes = await run(pipeline, is_async, documents=documents)
        assert {node.ref_doc_id for node in nodes} == {each.id_ for each in documents}
        for each in documents:
            mine = [node for node in nodes if node.ref_doc_id == each.id_]
            assert " ".join(node.text for node in mine) == each.text.strip()
            assert right_as_read(mine, contextual, is_right)


@both
async def test_a_renamed_document_is_stored_under_its_new_id_and_can_be_replaced(
    embedding, parser, document_of, is_async
):
    store = SimpleVectorStore()
    pipeline = IngestionPipeline(
        transformations=[parser, embedding],
        docstore=SimpleDocumentStore(),
        docstore_strategy="upserts_and_delete",
        vector_store=store,
        disable_cache=True,
    )
    for key, text in (("old", None), ("new", None), ("new", "The bridge was never built.")):
        document = document_of(0, text)
        document.id_ = key
        await run(pipeline, is_async, documents=[document])
        assert set(store.data.text_id_to_ref_doc_id.values()) == {key}
    assert len(store.data.embedding_dict) == 1


def test_repeated_sentences_keep_their_places(embedding, parser, contextual, is_right):
    one, two = (
        f"The {name} crossed a very wide river in flood on the way to the old town, they say."
        for name in ("king", "miller")
    )
    sentences = [one, two, one, one, two]
    nodes = embedding(parser([Document(text=" ".join(sentences), id_="d")])[::-1])[::-1]
    assert [node.text for node in nodes] == sentences
    assert right_as_read(nodes, contextual, is_right)
    assert len({tuple(node.embedding) for node in nodes}) == 5


def test_the_same_document_through_many_indexes_has_the_same_vectors(embedding, parser, documents):
    found = []
    for _ in range(2):
        index = VectorStoreIndex.from_documents(
            copy.deepcopy(documents[:2]),
            transformations=[parser, embedding],
            embed_model=embedding,
        )
        found.append(sorted(index.vector_store.data.embedding_dict.values()))
    assert found[0] == found[1]
