"""Devices: memory that doesn't suffice, several of them, and a GPU that isn't waited for."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import texts
import torch

from ctxembed import Embedder, Settings
from ctxembed.backends.torch import load
from ctxembed.backends.torch.backend import TorchBackend
from ctxembed.backends.torch.device import batch_tokens, pick_devices
from ctxembed.backends.torch.model import Loaded, MemoryLimit
from ctxembed.errors import BackendError, ConfigurationError, DeviceMemoryError


class Small:
    """A model on a device that has room for `fits` tokens."""

    def __init__(self, model, fits: int) -> None:
        self.model, self.fits, self.sizes = model, fits, []
        self.device, self.padded = model.device, model.padded

    def states(self, windows):
        tokens = sum(map(len, windows))
        self.sizes.append(tokens)
        if tokens > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.model.states(windows)


def with_room_for(tokens: int, checkpoint: Path) -> tuple[Embedder, Small]:
    backend = load(Settings(model=str(checkpoint), batch_tokens=4000))
    (loaded,) = backend._loaded
    small = Small(loaded.model, tokens)
    own = replace(loaded, model=small, memory=MemoryLimit())
    return Embedder(TorchBackend([own], backend.spec, backend.limits, backend.identity)), small


def test_a_batch_too_large_for_the_memory_is_halved_and_goes_on(pplx_checkpoint: Path):
    documents = texts.documents(60, seed=1)
    expected = Embedder.open(model=str(pplx_checkpoint)).embed_documents(documents)
    embedder, small = with_room_for(500, pplx_checkpoint)
    found = embedder.embed_documents(documents)

    for one, two in zip(expected, found, strict=True):
        assert np.abs(one.astype(int) - two.astype(int)).max() <= 1
    too_large = [size for size in small.sizes if size > 500]
    assert 1 <= len(too_large) <= 5  # what was learned is kept for later batches
    assert max(small.sizes[small.sizes.index(too_large[-1]) + 1 :]) <= 500


def test_one_window_too_large_for_the_memory_is_an_error_with_a_remedy(pplx_checkpoint: Path):
    embedder, _ = with_room_for(50, pplx_checkpoint)
    long = ["A river flows. " * 30]
    outcomes = list(embedder.stream([["Short."], long, ["Also short."]], errors="return"))

    assert isinstance(outcomes[1], DeviceMemoryError)
    assert str(outcomes[1]).startswith("Document 1")
    assert "window_tokens" in str(outcomes[1])
    assert [outcomes[0].shape[0], outcomes[2].shape[0]] == [1, 1]


def test_other_failures_of_a_device_are_not_tried_again(pplx_checkpoint: Path):
    embedder, small = with_room_for(10**6, pplx_checkpoint)
    calls = []

    def lost(windows):
        calls.append(1)
        raise RuntimeError("CUDA error: device lost while reading A SECRET TEXT")

    small.states = lost
    with pytest.raises(BackendError, match="RuntimeError") as caught:
        embedder.embed_documents([["One."], ["Two."]])

    assert len(calls) == 1
    assert "SECRET" not in str(caught.value)


class Waits:
    """A model that goes on only when as many as `barrier` says are at work."""

    def __init__(self, model, barrier: threading.Barrier) -> None:
        self.model, self.barrier, self.calls = model, barrier, 0
        self.device, self.padded = model.device, model.padded

    def states(self, windows):
        self.calls += 1
        self.barrier.wait(timeout=30)
        return self.model.states(windows)


def test_batches_are_shared_out_between_devices_and_rows_stay_in_place(pplx_checkpoint: Path):
    documents = texts.documents(40, seed=2)
    backend = load(Settings(model=str(pplx_checkpoint), batch_tokens=100_000))
    expected = Embedder(backend).embed_documents(documents)
    (loaded,) = backend._loaded
    barrier = threading.Barrier(2)
    models = [Waits(loaded.model, barrier) for _ in range(2)]
    both = [Loaded(loaded.tokenizer, model, type(loaded.queue)()) for model in models]
    limits = replace(backend.limits, batch_tokens=100_000, concurrency=2)
    embedder = Embedder(TorchBackend(both, backend.spec, limits, backend.identity))
    found = embedder.embed_documents(documents)  # one device alone would wait for ever

    assert [model.calls for model in models] == [1, 1]
    for one, two in zip(expected, found, strict=True):
        assert np.abs(one.astype(int) - two.astype(int)).max() <= 1
    assert embedder.backend._under_way == [0, 0]


def test_what_one_of_several_devices_has_no_room_for_goes_to_another(pplx_checkpoint: Path):
    backend = load(Settings(model=str(pplx_checkpoint), batch_tokens=4000))
    (loaded,) = backend._loaded
    documents = [["A river flows. " * 30], ["Short."], ["A bridge stands. " * 30]]
    expected = Embedder(backend).embed_documents(documents)
    both = [
        Loaded(loaded.tokenizer, Small(loaded.model, fits), type(loaded.queue)(), MemoryLimit())
        for fits in (50, 700)
    ]
    limits = replace(backend.limits, concurrency=2)
    embedder = Embedder(TorchBackend(both, backend.spec, limits, backend.identity))
    found = embedder.embed_documents(documents)

    assert max(both[0].model.sizes) > 50
    for one, two in zip(expected, found, strict=True):
        assert np.abs(one.astype(int) - two.astype(int)).max() <= 1
    assert embedder.backend._under_way == [0, 0]
    for each in both:
        each.model.fits = 50
    with pytest.raises(DeviceMemoryError, match="Document 0"):
        embedder.embed_documents(documents)


def test_a_device_that_failed_is_free_again(pplx_checkpoint: Path):
    embedder, small = with_room_for(0, pplx_checkpoint)
    with pytest.raises(BackendError):
        embedder.embed_documents([["One."]])
    small.fits = 1000

    assert len(embedder.embed_documents([["One."]])) == 1
    assert embedder.backend._under_way == [0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_every_gpu_of_a_machine_without_one_is_an_error():
    with pytest.raises(ConfigurationError, match=r"no GPU.*cpu"):
        pick_devices("cuda:*")


def test_every_gpu_is_one_worker_each(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr("ctxembed.backends.torch.device.pick_device", torch.device)

    assert pick_devices("cuda:*") == [torch.device("cuda", number) for number in range(3)]


def test_a_batch_takes_half_of_what_is_free_on_a_gpu(monkeypatch: pytest.MonkeyPatch):
    gpu = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    for free, expected in ((80 * 2**30, 32_768), (2**30, 5368), (2**10, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 0))
        assert batch_tokens(gpu, 100_000) == expected
    assert batch_tokens(torch.device("cpu"), 100_000) == 2048
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * 2**30)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    assert batch_tokens(gpu, 100_000) == 5368  # held by PyTorch, and free


@pytest.mark.gpu
def test_a_gpu_gives_the_rows_of_the_cpu(pplx_checkpoint: Path):
    documents = texts.documents(60, seed=1)
    cpu, gpu = (Embedder.open(model=str(pplx_checkpoint), device=each) for each in ("cpu", "cuda"))
    one, two = (np.concatenate(each.embed_documents(documents)) for each in (cpu, gpu))
    one, two = one.astype(float), two.astype(float)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)

    assert ((one * two).sum(1) / lengths).min() > 0.999
    assert gpu.backend.limits.concurrency == 2
