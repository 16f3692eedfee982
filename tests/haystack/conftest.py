"""Sources of chunks, what the core says of them, and components called both ways."""

import random
from pathlib import Path

import pytest

pytest.importorskip("haystack")

from haystack import Document
from haystack.document_stores.in_memory import InMemoryDocumentStore

from ctxembed import Embedder, to_floats
from ctxembed.testing import FakeBackend

TEXTS = {
    "tale": [
        "The king fell ill.",
        "He sent for his three sons.",
        "Terms apply.",
        "They rode out.",
    ],
    "law": ["The tenant pays.", "Terms apply.", "Terms apply.", "The landlord repairs the roof."],
    "note": ["One line."],
}


@pytest.fixture(autouse=True, scope="session")
def collected_stores_wait_for_nobody():
    """Let a store be collected at any moment: it joins its thread in `__del__`.

    In CPython 3.11 and 3.12 that never ends where another thread is just being started.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(InMemoryDocumentStore, "__del__")
        yield


@pytest.fixture
def texts() -> dict[str, list[str]]:
    """Chunks by source; the same text is in two sources, and twice in one."""
    return {name: list(chunks) for name, chunks in TEXTS.items()}


@pytest.fixture
def chunks(texts) -> list[Document]:
    """The chunks as a splitter would mark them, shuffled over all sources."""
    documents = [
        Document(content=text, meta={"source_id": name, "split_id": number})
        for name, siblings in texts.items()
        for number, text in enumerate(siblings)
    ]
    random.Random(4).shuffle(documents)
    return documents


@pytest.fixture(scope="session")
def tiny(pplx_checkpoint: Path) -> dict[str, str]:
    """Settings of a random contextual model that torch runs."""
    return {"model": str(pplx_checkpoint), "backend": "torch", "dtype": "float32"}


@pytest.fixture(scope="session")
def vectors(tiny):
    """What the core gives for a document, chunk by chunk."""

    def of(document: list[str], **settings) -> list[list[float]]:
        with Embedder.open(**(tiny | {"normalize": True} | settings)) as embedder:
            (rows,) = embedder.embed_documents([document])
        return to_floats(rows)

    return of


@pytest.fixture
def right(texts, vectors):
    """Tell whether every document has the vector of its chunk among its siblings.

    Stores keep float32, so what comes back from one is right within its precision.
    """

    def check(documents: list[Document], expected: dict[str, list[str]] | None = None) -> bool:
        table = {name: vectors(siblings) for name, siblings in (expected or texts).items()}
        rows = {id(d): table[d.meta["source_id"]][d.meta["split_id"]] for d in documents}
        assert documents
        return all(d.embedding == pytest.approx(rows[id(d)], abs=1e-6) for d in documents)

    return check


@pytest.fixture(params=["run", "run_async"])
def call(request):
    """Call a component or a pipeline, sync or async."""

    async def made(component, *args, **inputs):
        result = getattr(component, request.param)(*args, **inputs)
        return await result if made.is_async else result

    made.is_async = request.param == "run_async"
    return made


@pytest.fixture
def fake(monkeypatch) -> FakeBackend:
    """A backend that counts and fails on demand, opened whatever the settings name."""
    backend = FakeBackend()
    monkeypatch.setattr("ctxembed.embedder.open_backend", lambda *_: backend)
    return backend
