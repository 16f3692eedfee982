"""`ContextualTextSplitter` and `stamp_context`: which metadata is written, and which stays."""

import asyncio
from collections import Counter

import pytest
from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.runnables import RunnableLambda
from langchain_text_splitters import (
    MarkdownHeaderTextSplitter,
    RecursiveCharacterTextSplitter,
    RecursiveJsonSplitter,
    TextSplitter,
)

from ctxembed import ConfigurationError, Embedder, InputError, Settings
from langchain_ctxembed import ContextualEmbeddings, ContextualTextSplitter, stamp_context


def places(chunks):
    return [(c.metadata["context_index"], c.metadata["context_size"]) for c in chunks]


def contexts(chunks):
    return [chunk.metadata["context_id"] for chunk in chunks]


def test_each_document_is_a_context(line_splitter, parents, registry):
    chunks = line_splitter().split_documents(parents[:2])
    assert places(chunks) == [(n, 5) for n in range(5)] * 2
    assert len(set(contexts(chunks))) == 2
    assert registry.get(contexts(chunks)[0]) == tuple(parents[0].page_content.split("\n"))


def test_metadata_of_the_user_and_of_the_splitter_stays(registry):
    inner = RecursiveCharacterTextSplitter(chunk_size=10, chunk_overlap=0, add_start_index=True)
    parent = Document(page_content="one two three", metadata={"source": "f", "page": 3})
    chunks = ContextualTextSplitter(inner, registry=registry).split_documents([parent])
    assert [chunk.metadata["start_index"] for chunk in chunks] == [0, 8]
    assert {chunk.metadata["page"] for chunk in chunks} == {3}
    assert parent.metadata == {"source": "f", "page": 3}


def test_pages_of_a_file_make_one_context(line_splitter):
    pages = [
        Document(page_content="a\nb", metadata={"file": "x", "page": 0}),
        Document(page_content="other", metadata={"file": "y", "page": 0}),
        Document(page_content="c", metadata={"file": "x", "page": 1}),
        Document(page_content="note"),
    ]
    chunks = line_splitter(context_by="file").split_documents(pages)
    assert [chunk.page_content for chunk in chunks] == ["a", "b", "c", "other", "note"]
    assert places(chunks) == [(0, 3), (1, 3), (2, 3), (0, 1), (0, 1)]
    assert [chunk.metadata["source_id"] for chunk in chunks[:4]] == ["x", "x", "x", "y"]
    by_function = line_splitter(context_by=lambda d: d.metadata.get("file")).split_documents(pages)
    assert contexts(by_function) == contexts(chunks)


@pytest.mark.parametrize("key", [0, 1, (0,), (True, 0), "", False])
def test_whatever_they_are_joined_by_a_document_without_it_stays_alone(line_splitter, key):
    both = [Document(page_content="alone"), Document(page_content="keyed", metadata={"key": key})]
    chunks = line_splitter(context_by="key").split_documents(both)
    assert places(chunks) == [(0, 1), (0, 1)]


def test_what_nothing_can_be_joined_by_is_refused(line_splitter):
    listed = Document(page_content="private", metadata={"key": ["a", "b"]})
    with pytest.raises(InputError, match="Document 1: the value of context_by is a list"):
        line_splitter(context_by="key").split_documents([Document(page_content="a"), listed])


def test_a_context_id_of_another_kind_is_not_overwritten(line_splitter):
    parent = Document(page_content="private", metadata={"context_id": "conversation 7"})
    with pytest.raises(InputError, match="has a context_id of another kind") as caught:
        line_splitter().split_documents([parent])
    assert "private" not in str(caught.value)
    (once,) = line_splitter().split_documents([Document(page_content="a b")])
    (twice,) = line_splitter().split_documents([once])
    assert contexts([twice]) == contexts([once])


@pytest.mark.parametrize(
    ("metadata", "id_", "expected"),
    [
        ({"source_id": "mine", "source": "f"}, "i", "mine"),
        ({"source_id": None, "source": "f"}, "i", "f"),
        ({"source_id": "", "source": "f"}, "i", "f"),
        ({"source": "f"}, "i", "f"),
        ({}, "i", "i"),
        ({"source": ""}, "i", "i"),
    ],
)
def test_source_id_is_the_steadiest_name_at_hand(line_splitter, metadata, id_, expected):
    (chunk,) = line_splitter().split_documents(
        [Document(page_content="a", metadata=metadata, id=id_)]
    )
    assert chunk.metadata["source_id"] == expected


def test_source_id_of_a_document_survives_a_splitter_that_drops_metadata(registry):
    class Drops(BaseDocumentTransformer):
        def transform_documents(self, documents, **kwargs):
            return [
                Document(page_content=word) for d in documents for word in d.page_content.split()
            ]

    parent = Document(page_content="one two", metadata={"source_id": "mine", "source": "f"})
    chunks = ContextualTextSplitter(Drops(), registry=registry).split_documents([parent])
    assert [chunk.metadata["source_id"] for chunk in chunks] == ["mine", "mine"]


def test_source_id_is_that_of_the_whole_context(line_splitter):
    pages = [
        Document(page_content="a", metadata={"file": "x", "source": f"page {number}"})
        for number in range(2)
    ]
    chunks = line_splitter(context_by="file").split_documents(pages)
    assert [chunk.metadata["source_id"] for chunk in chunks] == ["x", "x"]


def test_source_id_without_any_name_is_a_hash_of_the_text(line_splitter):
    one, other, again = line_splitter().split_documents(
        [Document(page_content=text) for text in ("a", "b", "a")]
    )
    assert one.metadata["source_id"] == again.metadata["source_id"] != other.metadata["source_id"]


def test_source_id_key_is_configurable(line_splitter, parents):
    chunks = line_splitter(source_id_key="origin").split_documents(parents[:1])
    assert {chunk.metadata["origin"] for chunk in chunks} == {"a"}
    assert "source_id" not in chunks[0].metadata


def test_context_id_changes_with_any_sibling_their_order_and_the_fingerprint(
    line_splitter, embeddings
):
    def of(text, **options):
        return contexts(line_splitter(**options).split_documents([Document(page_content=text)]))[0]

    shorter = embeddings.model_copy(update={"dimensions": 8})
    windowed = embeddings.model_copy(update={"window_tokens": 16})
    ids = [of("a\nb"), of("b\na"), of("a\nc"), of("a\nb\nc"), of("ab")]
    ids += [of("a\nb", embeddings=made) for made in (embeddings, shorter, windowed)]
    assert len(set(ids)) == len(ids)
    assert of("a\nb") == ids[0]


def test_it_goes_into_a_chain_sync_and_async(line_splitter, parents):
    splitter = line_splitter()
    step = RunnableLambda(splitter.transform_documents, afunc=splitter.atransform_documents)
    chain = step | RunnableLambda(places)
    assert chain.invoke(parents[:1]) == [(n, 5) for n in range(5)]
    assert asyncio.run(chain.ainvoke(parents[:1])) == [(n, 5) for n in range(5)]


def test_empty_documents_give_no_chunks(line_splitter):
    assert line_splitter().split_documents([Document(page_content="")]) == []
    assert line_splitter().split_documents([]) == []


def test_the_default_splitter_cuts_by_tokens_without_overlap(embeddings, registry):
    text = "\n\n".join(
        f"Paragraph {n}. " + "It says one thing, and then another. " * 12 for n in range(9)
    )
    chunks = ContextualTextSplitter(embeddings=embeddings, registry=registry).split_documents(
        [Document(page_content=text)]
    )
    counts = embeddings.embedder.backend.tokenize([chunk.page_content for chunk in chunks])
    assert 128 < max(chunk.count for chunk in counts) <= 256
    assert sum(len(chunk.page_content) for chunk in chunks) <= len(text)
    rough = ContextualTextSplitter(registry=registry).split_documents(
        [Document(page_content=text)]
    )
    assert max(len(chunk.page_content) for chunk in rough) <= 256


@pytest.mark.parametrize(("window", "most"), [(None, 250), (40, 10), (8, 2)])
def test_chunks_of_the_default_splitter_are_a_quarter_of_the_window(fake, registry, window, most):
    embeddings, backend = fake()
    found = embeddings._embedder._found
    found[embeddings.settings, None] = Embedder(backend, Settings(window_tokens=window))
    splitter = ContextualTextSplitter(embeddings=embeddings, registry=registry)
    sizes = [len(text.split()) for text in splitter.split_text("word " * 600)]
    assert sizes[0] == most
    assert sum(sizes) == 600


def test_it_is_a_text_splitter(line_splitter, parents):
    splitter = line_splitter()
    assert isinstance(splitter, TextSplitter)
    assert splitter.split_text("a\n\nb\na") == ["a", "b", "a"]
    texts = [parent.page_content for parent in parents]
    metadatas = [parent.metadata for parent in parents]
    split = splitter.split_documents(parents)
    assert splitter.create_documents(texts, metadatas) == split
    assert [*splitter.transform_documents(parents)] == split
    assert places(splitter.create_documents(["a\nb", "c"])) == [(0, 2), (1, 2), (0, 1)]


@pytest.mark.parametrize(
    ("inner", "text", "expected"),
    [
        (
            MarkdownHeaderTextSplitter([("#", "title")]),
            "# One\nfirst\n# Two\nsecond",
            [("first", "One"), ("second", "Two")],
        ),
        (
            RecursiveJsonSplitter(30, min_chunk_size=5),
            '{"a": "first thing", "b": "second thing"}',
            [('{"a": "first thing"}', "f"), ('{"b": "second thing"}', "f")],
        ),
        (
            RecursiveJsonSplitter(30, min_chunk_size=5),
            '["first thing", "second thing"]',
            [('{"0": "first thing"}', "f"), ('{"1": "second thing"}', "f")],
        ),
    ],
)
def test_splitters_that_are_no_transformers_are_taken(registry, inner, text, expected):
    splitter = ContextualTextSplitter(inner, registry=registry)
    parent = Document(page_content=text, metadata={"source": "s", "title": "f"})
    chunks = splitter.split_documents([parent])
    assert [(chunk.page_content, chunk.metadata["title"]) for chunk in chunks] == expected
    assert places(chunks) == [(0, 2), (1, 2)]
    assert splitter.split_text(text) == [content for content, _ in expected]


def test_what_is_not_json_is_named(registry):
    splitter = ContextualTextSplitter(RecursiveJsonSplitter(), registry=registry)
    with pytest.raises(InputError, match=r"Document 0 \('s'\): is not JSON, and its") as caught:
        splitter.split_documents([Document(page_content="private", metadata={"source": "s"})])
    assert "private" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("abc", "an object of str"),
        (RecursiveCharacterTextSplitter, "the class RecursiveCharacterTextSplitter"),
        (ContextualEmbeddings(model="minilm"), "an object of ContextualEmbeddings"),
    ],
)
def test_what_cannot_split_is_refused_when_it_is_made(wrong, named):
    with pytest.raises(ConfigurationError, match=f"splitter of LangChain, got {named}. Hint: Con"):
        ContextualTextSplitter(wrong)


def test_chunks_of_a_foreign_splitter_can_be_stamped(registry):
    parts = MarkdownHeaderTextSplitter([("#", "title")]).split_text("# One\nfirst\n# Two\nsecond")
    chunks = stamp_context(parts, source_id="notes.md", registry=registry)
    assert places(chunks) == [(0, 2), (1, 2)]
    assert [chunk.metadata["title"] for chunk in chunks] == ["One", "Two"]
    assert registry.get(contexts(chunks)[0]) == ("first", "second")
    assert "context_id" not in parts[0].metadata


def test_the_default_splitter_counts_the_tokens_of_a_text_once(fake, registry):
    embeddings, backend = fake()
    counted = Counter()
    tokenize = backend.tokenize

    def tokenize_and_note(texts):
        counted.update(texts)
        return tokenize(texts)

    backend.tokenize = tokenize_and_note
    words = [f"word{number % 50}" for number in range(3000)]
    text = " ".join(words) + "\n\n" + "A sentence. " * 300
    chunks = ContextualTextSplitter(embeddings=embeddings, registry=registry).split_documents(
        [Document(page_content=text)]
    )
    uncached = RecursiveCharacterTextSplitter(
        separators=["\n\n", "\n", ". ", "? ", "! ", " ", ""],
        keep_separator="end",
        chunk_size=250,
        chunk_overlap=0,
        length_function=lambda part: tokenize([part])[0].count,
    )
    assert [chunk.page_content for chunk in chunks] == uncached.split_text(text)
    assert set(counted.values()) == {1}
    assert counted.total() < 100
