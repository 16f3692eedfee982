"""8-bit linear layers: near the exact product, a row by itself, only where asked for."""

from pathlib import Path

import numpy as np
import pytest
import texts
import torch

from ctxembed import Embedder, Settings
from ctxembed.backends import Backend
from ctxembed.backends.torch import load
from ctxembed.backends.torch.device import pick_dtype
from ctxembed.backends.torch.linear import choose, make_gate_up, make_linear
from ctxembed.errors import ConfigurationError
from ctxembed.testing import BackendContract


class TestContract(BackendContract):
    """What every backend promises, from 8-bit products."""

    @pytest.fixture
    def backend(self, pplx_checkpoint: Path) -> Backend:
        return load(Settings(model=str(pplx_checkpoint), dtype="int8"))


def cosines(one: list[np.ndarray], two: list[np.ndarray]) -> np.ndarray:
    first, second = np.concatenate(one).astype(float), np.concatenate(two).astype(float)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(1) / lengths


@pytest.mark.parametrize("shape", [(1, 64), (40, 64), (3, 5, 64)])
@pytest.mark.parametrize("bias", [False, True])
def test_products_are_near_exact_ones(shape: tuple, bias: bool):  # noqa: FBT001
    random = torch.Generator().manual_seed(0)
    weight, rows = torch.randn(96, 64, generator=random), torch.randn(*shape, generator=random)
    added = torch.randn(96, generator=random) if bias else None
    expected = torch.nn.functional.linear(rows, weight, added)
    found = make_linear(weight, added, "int8")(rows)

    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    assert 0 < (found - expected).norm() / expected.norm() < 0.015


def test_gated_layers_are_near_exact_ones():
    random = torch.Generator().manual_seed(0)
    gate, up, rows = (torch.randn(96, 64, generator=random) for _ in range(3))
    exact, found = (make_gate_up(gate, up, kind)(rows) for kind in ("torch", "int8"))

    assert 0 < (found - exact).norm() / exact.norm() < 0.03


def test_a_row_of_large_numbers_spoils_no_other():
    weight, rows = torch.randn(32, 64), torch.randn(5, 64)
    linear = make_linear(weight, None, "int8")
    alone = linear(rows[:1])
    rows[1] *= 1e6
    rows[2] = 0

    assert torch.equal(linear(rows)[:1], alone)
    assert torch.equal(linear(rows)[2], torch.zeros(32))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so(value: float):
    rows = torch.randn(3, 64)
    rows[1, 7] = value
    found = make_linear(torch.randn(32, 64), None, "int8")(rows)

    assert not torch.isfinite(found[1]).any()
    assert torch.isfinite(found[[0, 2]]).all()


def test_vectors_are_near_those_of_float32_and_a_model_of_its_own(
    pplx_checkpoint: Path, minilm_checkpoint: Path
):
    documents = [*texts.documents(2, seed=3, words=12), *texts.documents(1, seed=3)]
    for checkpoint, least in ((pplx_checkpoint, 0.995), (minilm_checkpoint, 0.995)):
        exact, found = (
            Embedder.open(model=str(checkpoint), dtype=dtype) for dtype in ("float32", "int8")
        )
        near = cosines(exact.embed_documents(documents), found.embed_documents(documents))

        assert found.backend._loaded[0].model.kind == "int8"
        assert exact.backend._loaded[0].model.kind != "int8"
        assert least < near.min() < 1
        assert exact.fingerprint != found.fingerprint


def test_a_row_depends_on_its_own_document(pplx_checkpoint: Path):
    """For pplx, whose windows are packed; a stock encoder owes more, in the test below."""
    documents = texts.documents(40, seed=9)
    embedder = Embedder.open(model=str(pplx_checkpoint), dtype="int8")
    together = embedder.embed_documents(documents)
    alone = [embedder.embed_documents([each])[0] for each in documents]

    assert cosines(together, alone).min() >= 0.999


def test_a_stock_encoder_gives_the_same_codes_in_any_company(minilm_checkpoint: Path):
    """Padded, it moved by up to 0.0016 in cosine: last bits of attention tip roundings to 8 bits.

    So do these documents, by up to 6 steps of a code.
    """
    documents = texts.documents(8, seed=9, words=4)
    embedder = Embedder.open(model=str(minilm_checkpoint), dtype="int8")
    together = embedder.embed_documents(documents)

    assert not embedder.backend.limits.padded
    for document, rows in zip(documents, together, strict=True):
        assert np.array_equal(embedder.embed_documents([document])[0], rows)


def test_8_bits_are_for_the_cpu_and_chosen_by_name():
    assert choose("cpu", torch.int8) == "int8"
    assert pick_dtype("int8", torch.device("cpu")) == torch.int8
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    with pytest.raises(ConfigurationError, match=r"CPU.*cuda:0.*bfloat16"):
        pick_dtype("int8", torch.device("cuda:0"))
    with pytest.raises(ConfigurationError, match="onnx"):
        Embedder.open(model="minilm", dtype="int8")
