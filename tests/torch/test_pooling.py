"""Means and codes on the device are those that numpy and `ctxembed.encoding` give."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ctxembed import Embedder
from ctxembed.backends.torch import load
from ctxembed.backends.torch.backend import TorchBackend
from ctxembed.backends.torch.pooling import in_form, segment_means
from ctxembed.batches import Batch
from ctxembed.documents import TokenizedChunk
from ctxembed.encoding import quantize_tanh, to_binary
from ctxembed.errors import NonFiniteError
from ctxembed.settings import Settings
from ctxembed.windows import Window

FLOATS = st.floats(-4, 4, width=32)


@given(arrays(np.float32, (3, 8), elements=FLOATS))
def test_codes_are_those_of_encoding(rows: np.ndarray):
    given_ = torch.from_numpy(rows)

    assert np.array_equal(quantize_tanh(rows), in_form(given_.clone(), "int8").numpy())
    assert np.array_equal(to_binary(rows), in_form(given_.clone(), "binary").numpy())
    assert np.array_equal(rows, in_form(given_.clone(), "pooled").numpy())


def test_codes_of_a_million_usual_values_are_those_of_encoding():
    rows = np.random.default_rng(0).normal(0, 0.3, (1000, 1024)).astype(np.float32)
    rows[0, :4] = [0, -0.0, 1e-30, -1e-30]

    assert np.array_equal(quantize_tanh(rows), in_form(torch.from_numpy(rows.copy()), "int8"))
    assert np.array_equal(to_binary(rows), in_form(torch.from_numpy(rows), "binary"))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=20))
def test_means_are_over_each_span_alone(gaps: list[tuple[int, int]]):
    spans, last = [], 0
    for gap, size in gaps:
        spans.append((last + gap, last + gap + size))
        last += gap + size
    states = np.random.default_rng(last).normal(size=(last, 5)).astype(np.float32)
    expected = np.stack([states[start:stop].mean(0, dtype=np.float64) for start, stop in spans])
    found = segment_means(torch.from_numpy(states), spans)

    assert np.allclose(expected, found, atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_an_error(pplx_checkpoint: Path, bad: float):
    states = torch.ones(4, 3)
    states[2, 1] = bad
    backend = load(Settings(model=str(pplx_checkpoint)))
    (loaded,) = backend._loaded
    model = SimpleNamespace(states=lambda windows: states, device=loaded.model.device)
    own = TorchBackend(
        [replace(loaded, model=model)], backend.spec, backend.limits, backend.identity
    )
    chunks = [TokenizedChunk("", 2, [7, 8]), TokenizedChunk("", 2, [9, 10])]
    windows = [
        Window(document=n, first=0, keep=range(1), chunks=(chunk,), tokens=2)
        for n, chunk in enumerate(chunks)
    ]

    assert own.embed(Batch((windows[0],), "pooled"))[0].shape == (1, 3)
    for form in ("pooled", "int8", "binary"):
        with pytest.raises(NonFiniteError, match="not finite"):
            own.embed(Batch(tuple(windows), form))


def test_one_document_that_is_not_finite_spares_its_batch_mates(
    short_tokenizer_json: str, pplx_checkpoint: Path, tmp_path: Path
):
    from pplx import CONFIG, SHORT_VOCABULARY, random_tensors, write_pplx

    whole = load(Settings(model=str(pplx_checkpoint)))
    tensors = random_tensors(CONFIG | SHORT_VOCABULARY)
    tensors["embed_tokens.weight"][list(whole.tokenize([" harbour"])[0].ids)] = np.nan
    spoiled = write_pplx(tmp_path, short_tokenizer_json, tensors, **SHORT_VOCABULARY)
    documents = [
        ["Good one.", "Fine."],
        ["Good too."],
        ["The harbour", "Rest."],
        ["Last", "good."],
    ]
    with Embedder.open(model=str(spoiled)) as embedder:
        found = list(embedder.stream(documents, errors="return"))
        alone = [embedder.embed_documents([documents[number]])[0] for number in (0, 1, 3)]

    error = found.pop(2)
    assert isinstance(error, NonFiniteError)
    assert error.document == 2
    assert all(np.array_equal(one, two) for one, two in zip(alone, found, strict=True))
