"""The fast linear layers: chosen where they are faster, equal everywhere, and not needed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ctxembed import Embedder
from ctxembed.backends import queue
from ctxembed.backends.torch import attention, linear
from ctxembed.backends.torch.linear import choose, make_linear, product

DTYPES = [torch.float32, torch.bfloat16]


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

    monkeypatch.setattr(linear, "product", gone)
    monkeypatch.setattr(linear, "reorder", gone)


def has_onednn() -> bool:
    try:
        make_linear(torch.eye(16), None, "onednn")(torch.eye(16))
    except (AttributeError, RuntimeError):
        return False
    return True


needs_onednn = pytest.mark.skipif("not has_onednn()", reason="this PyTorch has no oneDNN inside")


@needs_onednn
def test_the_fast_path_is_taken_where_it_is_faster(pplx_checkpoint: Path, fresh_choice):
    weight, rows = torch.randn(2048, 1024), torch.randn(512, 1024)
    ours, rival = (make_linear(weight, None, kind) for kind in ("torch", "onednn"))
    with torch.inference_mode():
        faster = min(linear._seconds(rival, rows) for _ in range(3)) < min(
            linear._seconds(ours, rows) for _ in range(3)
        )
    if not faster:
        pytest.skip("PyTorch's own choice is as fast on this machine")
    embedder = Embedder.open(model=str(pplx_checkpoint), batch_tokens=1234)

    assert choose("cpu", torch.float32) == "onednn"
    assert embedder.backend._loaded.model.kind == "onednn"
    assert embedder.backend._loaded.model.one is attention._tiled


@needs_onednn
@pytest.mark.parametrize("dtype", DTYPES)
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
        found = product(rows, weight, bias)
        return found[:, 1:] if wrong == "shape" else found + 0.01 * found.abs().max()

    monkeypatch.setattr(linear, "product", changed)

    assert choose("cpu", torch.float32) == "torch"


@pytest.fixture(autouse=True)
def nothing_shared():
    """Each test loads for itself: a model that another one still holds has another kind of layers."""
    queue._LOADED.clear()
    yield
    queue._LOADED.clear()


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
        assert slow.backend._loaded.model.kind == "torch"
        slow.close()
        choose.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear, "product", product)
            patch.setattr(linear, "reorder", torch.ops.mkldnn._reorder_linear_weight)
            (found,) = Embedder.open(**settings).embed_documents(document)
        choose.cache_clear()
        cosine = (expected * found).sum(1) / np.linalg.norm(expected, axis=1)
        cosine /= np.linalg.norm(found, axis=1)
        assert cosine.min() > (1 - 1e-5 if dtype == "float32" else 0.999)


@needs_onednn
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [1, 40, 513, 1500])
def test_all_ways_of_attention_give_the_same(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, tokens: int
):
    monkeypatch.setattr(attention, "_TILE_BYTES", 2**16)
    monkeypatch.setattr(attention, "_LEAST_ROWS", 16)
    random = torch.Generator().manual_seed(0)
    queries = (torch.randn(2, tokens, 3, 16, generator=random) / 4).to(dtype)
    keys, values = (torch.randn(2, tokens, 16, generator=random).to(dtype) for _ in range(2))
    block, windows = slice(0, tokens), [slice(0, tokens // 3), slice(tokens // 3, tokens)]
    fused, tiled, at_once = (
        attention.attend(queries, keys, values, block, windows, one).float()
        for one in (attention._fused, attention._tiled, attention._tiled_or_at_once)
    )
    near = 1e-5 if dtype == torch.float32 else 0.05

    assert (fused - tiled).abs().max() < near
    assert (fused - at_once).abs().max() < near


@needs_onednn
def test_a_block_that_cuts_through_windows_reads_each_window_whole():
    random = torch.Generator().manual_seed(0)
    queries = torch.randn(1, 30, 2, 16, generator=random)
    keys, values = (torch.randn(1, 30, 16, generator=random) for _ in range(2))
    windows = [slice(0, 7), slice(7, 22), slice(22, 30)]
    whole = attention.attend(queries, keys, values, slice(0, 30), windows, attention._tiled)
    parts = [
        attention.attend(queries[:, block], keys, values, block, windows, attention._tiled)
        for block in (slice(0, 5), slice(5, 25), slice(25, 30))
    ]

    assert torch.allclose(whole, torch.cat(parts), atol=1e-6)
