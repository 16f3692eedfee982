"""Torch's threads are lowered to what this process may use, and never raised."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from ctxembed.backends import threads, weight_cache
from ctxembed.backends.torch import load
from ctxembed.settings import Settings


@pytest.fixture(autouse=True)
def restored():
    """Leave torch as it was for the other tests."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("own", "told", "number"), [(4, 2, 2), (2, 4, 2), (3, 3, 3)])
def test_torch_keeps_the_smaller_number(monkeypatch, own, told, number):
    monkeypatch.setenv("OMP_NUM_THREADS", str(told))
    torch.set_num_threads(own)

    assert threads.limit_torch_threads() == number
    assert torch.get_num_threads() == number


def test_the_thread_that_asks_is_the_one_that_is_limited(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(4)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(torch.get_num_threads).result()
        pool.submit(threads.limit_torch_threads).result()

        assert pool.submit(torch.get_num_threads).result() == 2


def test_a_model_s_own_thread_is_limited(monkeypatch, pplx_checkpoint: Path):
    monkeypatch.setattr(
        weight_cache, "_LOADED", {}
    )  # what another test holds was loaded without a limit
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(5)
    (loaded,) = load(Settings(model=str(pplx_checkpoint)))._loaded

    assert loaded.queue.submit(torch.get_num_threads).result() == 3
