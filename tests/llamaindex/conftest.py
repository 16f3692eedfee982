"""Documents, a random checkpoint behind the adapter, and the right vectors, written anew."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_index.core")
pytest.importorskip("torch")

import llama_index.core
import naive
from llama_index.core import Document
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, MetadataMode, TransformComponent

from ctxembed import Embedder
from ctxembed.testing import FakeBackend
from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser

Row = tuple[str, str, Sequence[float]]
"""Of a stored node: the id of its document, its text, its vector."""

SUBJECTS = ["The king", "A miller", "Her sister", "The wolf", "An old soldier", "The merchant"]
VERBS = ["crossed", "sold", "dreamt of", "guarded", "lost", "painted"]
OBJECTS = ["the river in flood", "seven grey horses", "a tower without a door", "the last harvest"]


def text(number: int) -> str:
    """Return four to six sentences; the first is the same in every third document."""
    start = number % 3
    return " ".join(
        f"{SUBJECTS[(start + number * bool(i) + i) % 6]} {VERBS[(start + i) % 6]} "
        f"{OBJECTS[(start + number // 3 * bool(i) + i) % 4]} in the winter of {1801 + i}."
        for i in range(4 + number % 3)
    )


def document(number: int, content: str | None = None) -> Document:
    return Document(
        text=text(number) if content is None else content,
        id_=f"tale-{number}",
        metadata={"title": f"Tale {number % 5}"},
    )


@pytest.fixture
def documents() -> list[Document]:
    """Twelve short documents, each with an id and a title."""
    return [document(number) for number in range(12)]


@pytest.fixture
def splitter() -> SentenceSplitter:
    """About a sentence a node."""
    return SentenceSplitter(chunk_size=32, chunk_overlap=0)


@pytest.fixture
def parser(splitter: SentenceSplitter) -> ContextualNodeParser:
    return ContextualNodeParser(inner=splitter)


@pytest.fixture(scope="session")
def embedding(pplx_checkpoint: Path) -> ContextualEmbedding:
    """The adapter over a random checkpoint."""
    return ContextualEmbedding(model_name=str(pplx_checkpoint), device="cpu")


@pytest.fixture(scope="session")
def contextual(pplx_checkpoint: Path) -> Callable[[Sequence[str]], np.ndarray]:
    """The right vectors of one document's chunks: a naive late chunking, at length 1."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pplx_checkpoint / "tokenizer.json"))

    def rows(chunks: Sequence[str]) -> np.ndarray:
        ids = [tokenizer.encode(chunk, add_special_tokens=False).ids for chunk in chunks]
        codes = naive.codes(pplx_checkpoint, ids)
        return codes / np.linalg.norm(codes, axis=1, keepdims=True)

    return rows


def close(row: Sequence[float], expected: np.ndarray) -> bool:
    """Tell whether two unit vectors are one, up to one step of a code here and there."""
    return float(np.dot(row, expected)) > 0.99995


@pytest.fixture(scope="session")
def is_right() -> Callable[[Sequence[float], np.ndarray], bool]:
    return close


def row_of(node: BaseNode) -> Row:
    return node.ref_doc_id, node.get_content(MetadataMode.NONE), node.embedding


@pytest.fixture(scope="session")
def check(contextual) -> Callable[[Sequence[Row | BaseNode], Sequence[Document]], None]:
    """Fail unless rows (or nodes) are all chunks of all documents, each with its own vector."""

    def check_rows(found: Sequence[Row | BaseNode], documents: Sequence[Document]) -> None:
        rows = [row_of(each) if isinstance(each, BaseNode) else each for each in found]
        assert {key for key, _, _ in rows} == {document.id_ for document in documents}
        for each in documents:
            mine = [
                (each.text.index(part), part, row) for key, part, row in rows if key == each.id_
            ]
            mine.sort(key=lambda entry: entry[0])
            parts = [part for _, part, _ in mine]
            assert " ".join(parts).split() == each.text.split()
            assert len(parts) > 1
            title = each.metadata["title"]
            expected = contextual([f"title: {title}\n\n{part}".strip() for part in parts])
            for (_, part, row), right in zip(mine, expected, strict=True):
                assert close(row, right), (each.id_, part)

    return check_rows


@pytest.fixture(params=["two steps", "one step"])
def transformations(
    request: pytest.FixtureRequest,
    embedding: ContextualEmbedding,
    splitter: SentenceSplitter,
) -> list[TransformComponent]:
    """Splitting and embedding, apart or in one."""
    if request.param == "one step":
        return [ContextualNodeParser(inner=splitter, embed_model=embedding)]
    return [ContextualNodeParser(inner=splitter), embedding]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    """A backend for counts and faults, in place of whatever the settings name."""
    backend = FakeBackend()
    monkeypatch.setattr(Embedder, "open", lambda settings, **_: Embedder(backend, settings))
    return backend


@pytest.fixture
def document_of() -> Callable[..., Document]:
    return document


@pytest.fixture
def vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spawned workers find the splitter's vocabulary: unpickling it, they look nowhere else."""
    folder = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
