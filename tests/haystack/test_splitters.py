"""What each of Haystack's splitters makes a source of, by value."""

import pytest
from haystack import Document
from haystack.components.preprocessors import (
    DocumentSplitter,
    HierarchicalDocumentSplitter,
    MarkdownHeaderSplitter,
    PythonCodeSplitter,
    RecursiveDocumentSplitter,
)
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
)

TEXT = """# A
alpha beta gamma delta. epsilon zeta eta theta.
## B
iota kappa lambda mu nu xi. omicron pi rho sigma.
# C
upsilon phi chi. psi omega."""


def pages():
    return [
        Document(id=name, content=text, meta={"file_path": f"docs/{name}.md"})
        for name, text in [("x", TEXT), ("y", TEXT.replace("alpha", "aleph"))]
    ]


@pytest.fixture
def embed(tiny):
    def made(documents, **settings):
        embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False, **settings)
        return embedder.run(documents)["documents"]

    return made


def whole(documents, vectors, key="file_path"):
    """Tell whether each file was embedded as one source, chunks in the order of its text."""
    for name in {document.meta[key] for document in documents}:
        mine = [document for document in documents if document.meta[key] == name]
        mine.sort(key=lambda document: document.meta["split_id"])
        rows = vectors([document.content for document in mine])
        assert len(mine) > 2
        assert [document.embedding for document in mine] == rows
    return True


@pytest.mark.parametrize(
    "splitter",
    [
        DocumentSplitter(split_by="word", split_length=5),
        DocumentSplitter(split_by="word", split_length=5, split_overlap=2),
        RecursiveDocumentSplitter(
            split_length=8, split_unit="word", separators=["\n", ".", " "], split_overlap=0
        ),
        MarkdownHeaderSplitter(),
        MarkdownHeaderSplitter(secondary_split="word", split_length=5),
    ],
    ids=["word", "overlap", "recursive", "header", "header and word"],
)
def test_a_source_is_the_whole_document(splitter, embed, vectors, caplog):
    documents = embed(splitter.run(pages())["documents"][::-1])
    assert whole(documents, vectors)
    assert not caplog.records


def test_a_source_of_the_hierarchical_splitter_is_the_block_above(embed, vectors):
    splitter = HierarchicalDocumentSplitter(block_sizes={12, 5}, split_by="word")
    blocks = splitter.run(pages()[:1])["documents"]
    by_id = {block.id: block for block in embed(blocks)}
    for block in by_id.values():
        if children := [by_id[name] for name in block.meta["__children_ids"]]:
            expected = vectors([child.content for child in children])
            assert [child.embedding for child in children] == expected
    root = by_id["x"]
    assert root.embedding == vectors([TEXT])[0]


def leaves(blocks):
    """Return the smallest blocks of each document, in the order of its text."""
    by_id = {block.id: block for block in blocks}

    def below(block):
        names = block.meta["__children_ids"]
        return [leaf for name in names for leaf in below(by_id[name])] if names else [block]

    return [leaf for block in blocks if block.meta["__level"] == 0 for leaf in below(block)]


def test_leaves_of_the_hierarchical_splitter_can_be_one_source(embed, vectors):
    splitter = HierarchicalDocumentSplitter(block_sizes={12, 5}, split_by="word")
    ordered = leaves(splitter.run(pages())["documents"])
    documents = embed(ordered, source_key="file_path", order_key=None)
    for page in pages():
        mine = [d for d in documents if d.meta["file_path"] == page.meta["file_path"]]
        assert "".join(document.content for document in mine) == page.content
        assert [d.embedding for d in mine] == vectors([d.content for d in mine])


def test_a_source_of_chained_splitters_is_the_last_one_s_input(embed, vectors):
    sections = MarkdownHeaderSplitter().run(pages())["documents"]
    chunks = DocumentSplitter(split_by="word", split_length=5).run(sections)["documents"]
    documents = embed(chunks)
    for section in sections:
        mine = [d for d in documents if d.meta["source_id"] == section.id]
        assert [d.embedding for d in mine] == vectors([d.content for d in mine])
        assert len(mine) > 1


def test_chained_splitters_can_keep_the_whole_document_together(embed, vectors):
    sections = MarkdownHeaderSplitter().run(pages())["documents"]
    chunks = DocumentSplitter(split_by="word", split_length=5).run(sections)["documents"]
    documents = embed(chunks, source_key="file_path", order_key=None)
    for page in pages():
        mine = [d for d in documents if d.meta["file_path"] == page.meta["file_path"]]
        assert "".join(document.content for document in mine) == page.content
        assert [d.embedding for d in mine] == vectors([d.content for d in mine])


CODE = """import os

def first():
    return 1

class Second:
    def third(self):
        return os.sep

def fourth():
    return 4

def fifth():
    return 5
"""


def test_a_source_of_the_code_splitter_is_the_file(embed, vectors):
    splitter = PythonCodeSplitter(min_effective_lines=1, max_effective_lines=2)
    page = Document(id="x", content=CODE, meta={"file_path": "x.py"})
    documents = embed(splitter.run([page])["documents"][::-1])
    assert whole(documents, vectors)


def sections(text):
    headers = MarkdownHeaderSplitter().run([text])["documents"]
    return DocumentSplitter(split_by="word", split_length=5).run(headers)["documents"]


def blocks(text):
    splitter = HierarchicalDocumentSplitter(block_sizes={12, 5}, split_by="word")
    return splitter.run([text])["documents"]


@pytest.mark.parametrize("split", [sections, blocks])
@pytest.mark.parametrize("key", ["source_id", "file_path"])
def test_only_a_field_that_stays_replaces_what_two_steps_of_splitting_gave(embed, split, key):
    store = InMemoryDocumentStore()
    order = "split_id" if key == "source_id" else None
    writer = ContextualDocumentWriter(store, source_key=key, order_key=order)
    page, _ = pages()
    for text in (TEXT, TEXT.replace("alpha", "aleph")):
        chunks = split(Document(id=page.id, content=text, meta=page.meta))
        writer.run(embed(chunks))
    left = {document.id for document in store.filter_documents()}
    now = {document.id for document in chunks}
    assert now <= left
    assert (left == now) == (key == "file_path")
