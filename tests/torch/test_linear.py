"""The fast linear layers: chosen where they are faster, equal everywhere, and not needed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onednn import ONEDNN_DTYPES, needs_onednn

from ctxembed import Embedder
from ctxembed.backends import weight_cache
from ctxembed.backends.torch import attention, linear
from ctxembed.backends.torch.linear import choose, make_gate_up, make_linear, matmul


@pytest.fixture
def fresh_choice():
    """Let the choice be made anew, before and after a test that changes what there is."""
    choose.cache_clear()
    yield
    choose.cache_clear()


@pytest.fixture
def no_onednn(monkeypatch: pytest.MonkeyPatch, fresh_choice):
    """A PyTorch whose internal entry points have gone."""

    def gone(*args):
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute")

    monkeypatch.setattr(linear, "matmul", gone)
    monkeypatch.setattr(linear, "reorder", gone)


@needs_onednn
@pytest.mark.parametrize(("is_faster", "kind"), [(True, "onednn"), (False, "torch")])
def test_the_path_that_was_measured_to_be_faster_is_taken(
    pplx_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    fresh_choice,
    is_faster: bool,  # noqa: FBT001
    kind: str,
):
    monkeypatch.setattr(linear, "_faster", lambda *given: is_faster)
    embedder = Embedder.open(model=str(pplx_checkpoint), batch_tokens=1234 + is_faster)

    assert choose("cpu", torch.float32) == kind
    model = embedder.backend._loaded[0].model
    assert model.kind == kind
    assert (model.attention is attention._in_tiles) == is_faster


@needs_onednn
@pytest.mark.parametrize("dtype", ONEDNN_DTYPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 64), (7, 64), (3, 5, 64), (600, 64)])
def test_both_kinds_give_the_same(dtype: torch.dtype, bias: bool, shape: tuple):  # noqa: FBT001
    random = torch.Generator().manual_seed(0)
    weight, rows = (torch.randn(*each, generator=random).to(dtype) for each in ((96, 64), shape))
    added = torch.randn(96, generator=random).to(dtype) if bias else None
    one, two = (make_linear(weight, added, kind)(rows) for kind in ("torch", "onednn"))

    assert one.shape == two.shape
    assert (one - two).abs().max() <= (1e-5 if dtype == torch.float32 else 0.25)


@needs_onednn
@pytest.mark.parametrize("wrong", ["result", "error", "shape"])
def test_an_entry_point_that_changed_is_not_used(
    monkeypatch: pytest.MonkeyPatch, fresh_choice, wrong: str
):
    def changed(rows, weight, bias=None):
        if wrong == "error":
            raise RuntimeError("expected 7 arguments")
        found = matmul(rows, weight, bias)
        return found[:, 1:] if wrong == "shape" else found + 0.01 * found.abs().max()

    monkeypatch.setattr(linear, "matmul", changed)

    assert choose("cpu", torch.float32) == "torch"


@pytest.fixture(autouse=True)
def nothing_shared():
    """Each test loads for itself: a model that another still holds has another kind of layers."""
    weight_cache._LOADED.clear()
    yield
    weight_cache._LOADED.clear()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_the_fast_path_the_vectors_are_the_same(
    pplx_checkpoint: Path, minilm_checkpoint: Path, no_onednn, dtype: str
):
    assert choose("cpu", torch.float32) == "torch"
    for checkpoint in (pplx_checkpoint, minilm_checkpoint):
        document = [["Rivers flow.", "Mountains don't. " * 70, "Lakes are still."]]
        settings = {"model": str(checkpoint), "dtype": dtype, "encoding": "float"}
        slow = Embedder.open(**settings)
        (expected,) = slow.embed_documents(document)
        assert slow.backend._loaded[0].model.kind == "torch"
        slow.close()
        choose.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear, "matmul", matmul)
            patch.setattr(linear, "reorder", torch.ops.mkldnn._reorder_linear_weight)
            (found,) = Embedder.open(**settings).embed_documents(document)
        choose.cache_clear()
        cosine = (expected * found).sum(1) / np.linalg.norm(expected, axis=1)
        cosine /= np.linalg.norm(found, axis=1)
        assert cosine.min() > (1 - 1e-5 if dtype == "float32" else 0.999)


@needs_onednn
@pytest.mark.parametrize("dtype", ONEDNN_DTYPES)
def test_both_kinds_of_gated_layer_give_the_same(dtype: torch.dtype):
    random = torch.Generator().manual_seed(0)
    gate, up, rows = (
        torch.randn(*shape, generator=random).to(dtype) for shape in ((96, 64), (96, 64), (70, 64))
    )
    expected = torch.nn.functional.silu(rows.double() @ gate.double().T) * (
        rows.double() @ up.double().T
    )

    for kind in ("torch", "onednn"):
        found = make_gate_up(gate, up, kind)(rows)
        assert found.dtype == dtype
        error = (found.double() - expected).abs().max() / expected.abs().max()
        assert error < (1e-6 if dtype == torch.float32 else 1e-2)


@needs_onednn
def test_a_gated_layer_that_changed_is_not_used(monkeypatch: pytest.MonkeyPatch, fresh_choice):
    monkeypatch.setattr(linear, "matmul_times", lambda rows, weight, other: matmul(rows, weight))

    assert choose("cpu", torch.float32) == "torch"


def test_the_faster_kind_wins_by_its_best_run(monkeypatch: pytest.MonkeyPatch):
    moments = iter([0, 9, 10, 11, 20, 21, 30, 39, *range(40, 100)])
    monkeypatch.setattr(linear, "perf_counter", lambda: next(moments))
    monkeypatch.setattr(linear, "_PROBE_RUNS", 2)

    # each has one run of 9 and one of 1: what slowed them down decides nothing
    assert linear._faster(lambda rows: rows, lambda rows: rows, torch.zeros(1))
