"""What a changed source leaves in a store, by duplicate policy: the table of `docs/haystack.md`."""

from pathlib import Path

import pytest
from haystack import Document
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.writers import DocumentWriter
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy

from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
)

PAGE = Path(__file__).parents[2] / "docs" / "haystack.md"
COUNT = 12
CHANGED = 4


def sentences(*, changed: bool) -> list[str]:
    """Twelve sentences; a change makes the fifth one longer."""
    found = [f"Sentence number {number} is here." for number in range(COUNT)]
    if changed:
        found[CHANGED] = "Sentence number four has become a good deal longer."
    return found


def named(text):
    return Document(id="guide.md", content=text)


def hashed(text):
    return Document(content=text, meta={"file_path": "docs/guide.md"})


def stock(policy):
    return lambda store: DocumentWriter(store, policy)


def ours(**settings):
    return lambda store: ContextualDocumentWriter(store, **settings)


OWN, HASH = ("own id", named), ("hash", hashed)
STOCK = "`DocumentWriter`, "
ROWS = [
    (OWN, STOCK + "`NONE` or `FAIL`", stock(DuplicatePolicy.NONE)),
    (OWN, STOCK + "`NONE` or `FAIL`", stock(DuplicatePolicy.FAIL)),
    (OWN, STOCK + "`SKIP`", stock(DuplicatePolicy.SKIP)),
    (OWN, STOCK + "`OVERWRITE`", stock(DuplicatePolicy.OVERWRITE)),
    (OWN, "`ContextualDocumentWriter`", ours()),
    *((HASH, STOCK + "any policy", stock(policy)) for policy in DuplicatePolicy),
    (HASH, "`ContextualDocumentWriter`", ours()),
    (HASH, '`ContextualDocumentWriter(source_key="file_path")`', ours(source_key="file_path")),
]


@pytest.mark.parametrize(("kind", "name", "make_writer"), ROWS)
def test_what_a_change_leaves_is_as_documented(kind, name, make_writer, tiny, vectors):
    identity, document = kind
    store = InMemoryDocumentStore()
    writer = make_writer(store)
    embedder = ContextualDocumentEmbedder(**tiny, progress_bar=False)
    splitter = DocumentSplitter(split_by="period", split_length=1)
    told = ""
    for changed in (False, True):
        chunks = splitter.run([document("".join(sentences(changed=changed)))])["documents"]
        try:
            writer.run(embedder.run(chunks)["documents"])
        except DuplicateDocumentError:
            told = "raises; "
    chunks = sentences(changed=True)
    now = dict(zip(chunks, vectors(chunks), strict=True))
    rows = store.filter_documents()
    right = {r.content for r in rows if r.embedding == now.get(r.content)}
    stale = [r for r in rows if r.content in now and r.embedding != now[r.content]]
    orphans = [r for r in rows if r.content not in now]
    doubled = len(rows) - len({r.content for r in rows})
    line = f"| {identity} | {name} | {told}{len(rows)} | {len(right)} | {len(stale)} "
    line += f"| {len(orphans)} | {doubled} |"
    assert line in PAGE.read_text(), line
