"""`BackendContract`: what every backend promises, as tests to inherit.

    class TestMine(BackendContract):
        @pytest.fixture
        def backend(self) -> Backend:
            return MyBackend(...)

Whether the vectors are those of the model is for the backend's own tests, against a reference.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from ctxembed.backends import Backend
from ctxembed.batches import Batch
from ctxembed.embedder import Embedder
from ctxembed.encoding import Array, Form, quantize_tanh, to_binary
from ctxembed.errors import DocumentTooLongError
from ctxembed.settings import Settings
from ctxembed.windows import Window

DOCUMENTS = (
    ("The company was founded in 1897.", "It makes ropes.", "In the second quarter it grew."),
    ("A single chunk stands alone.",),
    ("Rivers flow.", "Rivers flow.", "Mountains don't, and that is all there is to say of them."),
    ("Grüße aus Köln, 你好, مرحبا.", "<|endoftext|> [SEP] </s> are ordinary words here."),
)


class BackendContract:
    """Subclass it and give a `backend` fixture."""

    least_equal = 0.999
    """Share of int8 codes that stay the same in any company; the others are off by 1."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend under test."""
        raise NotImplementedError("give a `backend` fixture")

    def test_protocol(self, backend: Backend) -> None:
        """It has the members of the protocol, and gives vectors before the quantiser, or codes."""
        assert isinstance(backend, Backend)
        assert backend.forms

    def test_counts_tokens(self, backend: Backend) -> None:
        """Every chunk comes back tokenised, in order, with one id per token where there are ids."""
        chunks = [chunk for document in DOCUMENTS for chunk in document]
        tokenized = backend.tokenize(chunks)

        assert chunks == [chunk.text for chunk in tokenized]
        assert all(chunk.count > 0 for chunk in tokenized)
        assert all(chunk.ids is None or len(chunk.ids) == chunk.count for chunk in tokenized)
        assert [] == backend.tokenize([])

    def test_rows_follow_chunks(self, backend: Backend) -> None:
        """A window comes back with as many rows as chunks, of the model's width, finite, typed."""
        for form in sorted(backend.forms):
            rows = backend.embed(Batch(tuple(_windows(backend)), form))

            assert [len(document) for document in DOCUMENTS] == [len(row) for row in rows]
            assert {backend.spec.dimensions} == {row.shape[1] for row in rows}
            assert {np.dtype(np.float32 if form == "pooled" else np.int8)} == {
                row.dtype for row in rows
            }
            assert all(np.isfinite(row).all() for row in rows)

    def test_codes_are_the_definition(self, backend: Backend) -> None:
        """Codes made by the backend are those that `encoding` makes of its pooled vectors."""
        if "pooled" not in backend.forms:
            pytest.skip("this backend gives codes only")
        batch = Batch(tuple(_windows(backend)), "pooled")
        pooled = np.concatenate(backend.embed(batch))
        if "int8" in backend.forms:
            codes = np.concatenate(backend.embed(replace(batch, form="int8")))
            self.assert_same(quantize_tanh(pooled), codes)
        if "binary" in backend.forms:
            bits = np.concatenate(backend.embed(replace(batch, form="binary")))
            clear = np.abs(pooled) > 1e-5  # noqa: PLR2004 - arithmetic noise around zero
            assert np.array_equal(to_binary(pooled)[clear], bits[clear])

    def test_company_changes_nothing(self, backend: Backend) -> None:
        """A window's rows are the same alone, in any order, and among any other windows."""
        form = _codes_form(backend)
        windows = _windows(backend) + _windows(backend, alone=True)
        together = backend.embed(Batch(tuple(windows), form))
        reverse = backend.embed(Batch(tuple(reversed(windows)), form))
        alone = [backend.embed(Batch((window,), form))[0] for window in windows]

        for one, two, three in zip(together, reversed(reverse), alone, strict=True):
            self.assert_same(_codes(one), _codes(two))
            self.assert_same(_codes(one), _codes(three))

    def test_siblings_change_a_chunk(self, backend: Backend) -> None:
        """A chunk has another vector beside other chunks, also when it stands there twice."""
        form = _codes_form(backend)
        windows = _windows(backend)
        first, third = windows[0], windows[2]
        mixed = _window(0, (*third.chunks[:1], *first.chunks[1:]))
        rows = backend.embed(Batch((third, mixed), form))

        assert not np.array_equal(rows[0][0], rows[1][0])
        assert third.chunks[0].text == third.chunks[1].text

    def test_async_equals_sync(self, backend: Backend) -> None:
        """`aembed` gives what `embed` gives, many at once too."""
        batch = Batch(tuple(_windows(backend)), _codes_form(backend))

        async def many() -> list[list[Array]]:
            return list(await asyncio.gather(*(backend.aembed(batch) for _ in range(4))))

        expected = backend.embed(batch)
        for rows in asyncio.run(many()):
            for one, two in zip(expected, rows, strict=True):
                self.assert_same(_codes(one), _codes(two))

    def test_threads(self, backend: Backend) -> None:
        """Many threads may call at once and get what one gets."""
        batch = Batch(tuple(_windows(backend)), _codes_form(backend))
        expected = np.concatenate(backend.embed(batch))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: np.concatenate(backend.embed(batch)), range(8)))
        for rows in found:
            self.assert_same(_codes(expected), _codes(rows))

    def test_prefix_is_read_and_not_returned(self, backend: Backend) -> None:
        """What stands before every window has no row and changes the rows."""
        prefix = backend.tokenize(["search_document: "])[0]
        windows = tuple(_windows(backend))
        form = _codes_form(backend)
        plain = backend.embed(Batch(windows, form))
        prefixed = backend.embed(Batch(windows, form, prefix))

        assert [row.shape for row in plain] == [row.shape for row in prefixed]
        assert not np.array_equal(np.concatenate(plain), np.concatenate(prefixed))

    def test_too_long_is_refused(self, backend: Backend) -> None:
        """A chunk beyond the model's limit is an error that says by how much."""
        # beyond any doubt, also where tokens are estimated
        long = "word " * (4 * backend.spec.max_tokens)

        with pytest.raises(DocumentTooLongError) as caught:
            Embedder(backend, Settings(context_weight=1.0)).embed_documents([["fine"], [long]])

        assert caught.value.document == 1
        assert caught.value.limit == backend.spec.max_tokens
        assert (caught.value.tokens or 0) > backend.spec.max_tokens

    def test_close_twice(self, backend: Backend) -> None:
        """Closing again does nothing."""
        backend.close()
        backend.close()

    def assert_same(self, expected: Array, actual: Array) -> None:
        """Fail unless the codes are equal but for arithmetic noise."""
        assert expected.shape == actual.shape
        difference = np.abs(expected.astype(int) - actual.astype(int))
        assert difference.max(initial=0) <= 1
        assert (difference == 0).mean() >= self.least_equal


def _window(number: int, chunks: tuple[object, ...]) -> Window:
    return Window(
        document=number,
        first=0,
        keep=range(len(chunks)),
        chunks=chunks,  # type: ignore[arg-type]
        tokens=sum(chunk.count for chunk in chunks) + len(chunks) - 1,  # type: ignore[attr-defined]
        independent=len(chunks) == 1,
    )


def _windows(backend: Backend, *, alone: bool = False) -> list[Window]:
    documents = [tuple(backend.tokenize(document)) for document in DOCUMENTS]
    if alone:
        documents = [(chunk,) for document in documents for chunk in document]
    return [_window(number, chunks) for number, chunks in enumerate(documents)]


def _codes_form(backend: Backend) -> Form:
    return "int8" if "int8" in backend.forms else "pooled"


def _codes(rows: Array) -> Array:
    return quantize_tanh(rows) if rows.dtype.kind == "f" else rows
