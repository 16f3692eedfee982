"""Attention: every way of it reads each window whole and nothing else."""

import numpy as np
import pytest
import torch
from onednn import ONEDNN_DTYPES, needs_onednn

from ctxembed.backends.torch import attention
from ctxembed.backends.torch.attention import borders_of, choose_attention

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16]


def drawn(lengths: list[int], heads: tuple[int, int] = (6, 2), size: int = 16) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [(sum(lengths), count, size) for count in (heads[0], heads[1], heads[1])]
    return [random.standard_normal(shape) / (2 if n == 0 else 1) for n, shape in enumerate(shapes)]


def exact(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, lengths: list[int]):
    """Attention in float64, a window and a head at a time."""
    mixed, start = np.empty_like(queries), 0
    group = queries.shape[1] // keys.shape[1]
    for length in lengths:
        window = slice(start, start + length)
        for head in range(queries.shape[1]):
            key, value = (each[window, head // group] for each in (keys, values))
            scores = np.exp(queries[window, head] @ key.T)
            mixed[window, head] = scores / scores.sum(1, keepdims=True) @ value
        start += length
    return mixed.reshape(len(queries), -1)


def assert_exact(attend, lengths: list[int], dtype: torch.dtype) -> None:
    parts = drawn(lengths)
    given = [torch.from_numpy(each).to(dtype) for each in parts]
    rounded = [each.double().numpy() for each in given]
    with torch.inference_mode():
        found = attend(*given, borders_of(lengths, CPU)).double().numpy()
    # bfloat16 scores near 8 are off by 1/64 and values go up to 4; a wrong window is off by 1
    tolerance = 1e-5 if dtype == torch.float32 else 0.06

    assert np.abs(found - exact(*rounded, lengths)).max() < tolerance


@pytest.mark.parametrize("dtype", ONEDNN_DTYPES)
@pytest.mark.parametrize("lengths", [[1], [40], [513], [7, 1, 700, 512, 3]])
@needs_onednn
def test_tiles_give_exact_attention(dtype: torch.dtype, lengths: list[int]):
    assert_exact(attention._in_tiles, lengths, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lengths", [[1], [7, 1, 700, 3]])
def test_the_stock_kernel_gives_exact_attention(dtype: torch.dtype, lengths: list[int]):
    assert_exact(attention._fused, lengths, dtype)


def test_keys_repeated_for_every_head_give_exact_attention(monkeypatch: pytest.MonkeyPatch):
    asked = []
    stock = attention.functional.scaled_dot_product_attention
    monkeypatch.setattr(attention, "_needs_own_heads", lambda queries: True)
    monkeypatch.setattr(
        attention.functional,
        "scaled_dot_product_attention",
        lambda *each, **how: asked.append(how["enable_gqa"]) or stock(*each, **how),
    )
    assert_exact(attention._fused, [7, 1, 300], torch.float32)

    assert asked == [False] * 3


@pytest.mark.parametrize("lengths", [[600], [1300, 65, 1024]])
@needs_onednn
def test_long_windows_whose_keys_are_split_give_exact_attention(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int]
):
    split = []
    original = attention._by_rows_and_keys
    monkeypatch.setattr(attention, "_TILE_BYTES", 2**10)
    monkeypatch.setattr(attention, "_SPLIT_KEYS", 100)
    monkeypatch.setattr(attention, "_SPLIT_ROWS", 50)
    monkeypatch.setattr(
        attention, "_by_rows_and_keys", lambda *each: split.append(1) or original(*each)
    )
    assert_exact(attention._in_tiles, lengths, torch.float32)

    assert split


@needs_onednn
def test_scores_far_above_the_others_overflow_nothing():
    queries, keys, values = (torch.from_numpy(each).float() for each in drawn([300]))
    keys[250] *= 100
    with torch.inference_mode():
        whole = attention._by_rows(queries[:, 0], keys[:, 0], values[:, 0])
        parts = attention._by_rows_and_keys(queries[:, 0], keys[:, 0], values[:, 0])

    assert torch.isfinite(parts).all()
    assert torch.allclose(whole, parts, atol=1e-5)


def test_the_packed_kernel_is_left_alone_where_it_does_not_run():
    assert not attention._packed_works(CPU, 128)
    assert choose_attention("torch", torch.bfloat16, CPU, 128) is attention._fused
    assert choose_attention("onednn", torch.bfloat16, CPU, 128) is attention._in_tiles


def packed_on_cpu(queries, keys, values, ends, other_ends, longest, longest_key, **options):
    """The kernel's contract, restated: what is tested is that it is called by it."""
    assert options == {"scale": 1.0, "enable_gqa": queries.shape[1] > keys.shape[1]}
    assert ends is other_ends
    assert ends.dtype == torch.int32
    lengths = ends.diff().tolist()
    assert longest == longest_key == max(lengths)
    parts = [each.double().numpy() for each in (queries, keys, values)]
    return torch.from_numpy(exact(*parts, lengths)).view_as(queries).to(queries.dtype)


def test_the_packed_kernel_is_called_by_its_contract(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", packed_on_cpu)

    assert attention._packed_works(CPU, 128)
    assert_exact(attention._packed, [7, 1, 300], torch.bfloat16)


def test_a_packed_kernel_that_looks_across_borders_is_not_used(monkeypatch: pytest.MonkeyPatch):
    def leaks(queries, keys, values, ends, *args, **options):
        ends = ends[[0, -1]]
        return packed_on_cpu(
            queries, keys, values, ends, ends, len(queries), len(queries), **options
        )

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", leaks)

    assert not attention._packed_works(CPU, 128)


def test_a_full_gpu_is_no_reason_against_the_packed_kernel(monkeypatch: pytest.MonkeyPatch):
    def full(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", full)

    with pytest.raises(torch.OutOfMemoryError):
        attention._packed_works(CPU, 128)


@pytest.mark.gpu
def test_a_gpu_takes_the_packed_kernel_and_it_is_exact():
    device = torch.device("cuda")
    assert choose_attention("torch", torch.bfloat16, device, 128) is attention._packed
    lengths = [7, 1, 700, 2048]
    given = [
        torch.from_numpy(each).to(device, torch.bfloat16) for each in drawn(lengths, size=128)
    ]
    found = attention._packed(*given, borders_of(lengths, device)).double().cpu().numpy()
    rounded = [each.double().cpu().numpy() for each in given]

    assert np.abs(found - exact(*rounded, lengths)).max() < 0.03
