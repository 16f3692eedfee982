"""`embed_lines`: every good document once, every bad line named, in order, little held."""

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ctxembed import ConfigurationError, Embedder, InputError, Settings
from ctxembed.batches import Limits
from ctxembed.cli.embedding_run import embed_lines
from ctxembed.errors import NonFiniteError, RateLimitError
from ctxembed.testing import FakeBackend


class ListWriter:
    """Keeps what it is given."""

    def __init__(self):
        self.found = []

    def write(self, document, rows):
        self.found.append((document.id, rows))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def document(key, *chunks):
    return json.dumps({"id": key, "chunks": chunks}).encode()


def embed(lines, *, skip=None, backend=None, **settings):
    writer = ListWriter()
    embedder = Embedder(backend or FakeBackend(), Settings(**settings))
    summary = embed_lines(embedder, lines, writer, skip=skip, source="in.jsonl")
    return summary, writer.found


def test_rows_are_those_of_the_embedder():
    summary, found = embed([document("a", "one", "two"), document("b", "three")])

    expected = Embedder(FakeBackend()).embed_documents([["one", "two"], ["three"]])
    assert [key for key, _ in found] == ["a", "b"]
    assert all(np.array_equal(e, r) for e, (_, r) in zip(expected, found, strict=True))
    assert (summary.documents, summary.chunks, summary.failed) == (2, 3, 0)
    assert summary.tokens == 4  # three words, and a separator between two chunks
    assert summary.seconds > 0


def test_first_bad_line_raises_with_its_number():
    with pytest.raises(InputError) as caught:
        embed([document("a", "one"), b"", b"nonsense", document("a", " ")])

    assert str(caught.value) == (
        "in.jsonl, line 3: is not JSON: Expecting value at column 1. Hint: --errors skip leaves "
        "such lines out."
    )


def test_earlier_line_is_named_when_its_fault_shows_later():
    backend = FakeBackend()
    long = " ".join(["word"] * 1001)

    with pytest.raises(InputError) as caught:
        embed([document("a", "x"), document("b", "x", long), b"nonsense"], backend=backend)

    assert "in.jsonl, line 2 (id 'b'), chunk 1: has 1001 tokens" in str(caught.value)


def test_nothing_is_read_after_the_bad_line():
    def lines():
        yield b"nonsense"
        pytest.fail("read on")

    with pytest.raises(InputError, match="line 1"):
        embed(lines())


def test_skipped_lines_come_with_id_chunk_and_kind():
    failures = []
    summary, found = embed(
        [document("a", "x", " "), b"{}", document("b", "x"), document("c"), document("d", "x", 3)],
        skip=failures.append,
    )

    assert [key for key, _ in found] == ["b"]
    assert summary.failed == 4
    assert [(f.line, f.id, f.chunk, f.error) for f in failures] == [
        (1, "a", 1, "EmptyChunkError"),
        (2, None, None, "InputError"),
        (4, "c", None, "InputError"),
        (5, "d", 1, "InputError"),
    ]


@pytest.mark.parametrize(
    "error", [NonFiniteError(), RateLimitError("the quota is used up.", status_code=429)]
)
def test_what_is_no_fault_of_a_document_is_never_skipped(error):
    """A model that gives no vectors, or a quota that is used up, ends the run at its document."""

    def fault(batch):
        if any(chunk.text == "bad" for window in batch.windows for chunk in window.chunks):
            raise error

    failures = []
    lines = [document(str(n), "bad" if n == 5 else "good") for n in range(10)]
    with pytest.raises(type(error)) as caught:
        embed(lines, skip=failures.append, backend=FakeBackend(fault=fault))
    assert caught.value.key == ("5" if isinstance(error, NonFiniteError) else "0")
    assert not failures


def test_what_fails_for_every_line_raises_though_lines_are_skipped():
    def fault(batch):
        raise ConfigurationError("no such device.")

    with pytest.raises(ConfigurationError, match="no such device"):
        embed([document("a", "x")], skip=lambda _: None, backend=FakeBackend(fault=fault))


def test_text_where_only_chunks_are_taken_is_a_bad_line():
    with pytest.raises(InputError, match='has "text" where "chunks" are expected'):
        embed([b'{"id": "a", "text": "x"}'])


@pytest.mark.parametrize("bad", [b"nonsense", document("same", " ")])
def test_reads_a_bounded_number_ahead(bad):
    read = []

    def lines():
        for number in range(5000):
            read.append(number)
            yield document(str(number), "one two three four") if number % 2 else bad

    class Watching(ListWriter):
        def write(self, document, rows):
            super().write(document, rows)
            assert len(read) - document.line < 1000

    backend = FakeBackend(limits=Limits(batch_tokens=64))
    embed_lines(Embedder(backend), lines(), Watching(), skip=lambda _: None)
    assert len(read) == 5000


GOOD = st.lists(st.text("ab c", min_size=1).filter(str.strip), min_size=1, max_size=5)
BAD = st.sampled_from(
    [b"{", b"3", b'{"id": 1}', b'{"id": "x", "chunks": []}', b'{"chunks": ["x"]}', b"\xff"]
)


@given(st.lists(st.one_of(GOOD, BAD, st.just(b""), st.just(b"again")), max_size=30))
def test_good_documents_are_written_once_and_bad_lines_named_once(kinds):
    lines, good, bad = [], {}, []
    for number, kind in enumerate(kinds, 1):
        if isinstance(kind, list):
            good[f"{number}"] = kind
            lines.append(document(f"{number}", *kind))
        elif kind == b"again" and good:
            bad.append(number)
            lines.append(document(next(iter(good)), "x"))
        else:
            lines.append(b"" if kind == b"again" else kind)
            bad.extend([number] if lines[-1] else [])
    failures = []

    summary, found = embed(lines, skip=failures.append)

    assert list(good) == [key for key, _ in found]
    assert bad == [failure.line for failure in failures]
    assert (len(good), len(bad)) == (summary.documents, summary.failed)
    expected = Embedder(FakeBackend()).embed_documents(list(good.values()))
    assert all(np.array_equal(e, r) for e, (_, r) in zip(expected, found, strict=True))
