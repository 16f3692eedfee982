"""One loaded model for all who ask, entered by one thread at a time."""

import asyncio
import gc
import multiprocessing
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ctxembed import Embedder
from ctxembed.backends.torch import load, load_model
from ctxembed.errors import BackendError
from ctxembed.settings import Settings

DOCUMENTS = [["Rivers flow.", "Mountains don't."], ["Alone."]]


def test_the_same_weights_are_loaded_once(pplx_checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    loads = []

    def counted(*args):
        loads.append(args)
        return load_model(*args)

    monkeypatch.setattr("ctxembed.backends.torch.load_model", counted)
    settings = Settings(model=str(pplx_checkpoint), window_tokens=511)
    barrier = threading.Barrier(4)

    def opened(_):
        barrier.wait()
        return load(settings)

    with ThreadPoolExecutor(4) as pool:
        backends = list(pool.map(opened, range(4)))
    other = load(Settings(model=str(pplx_checkpoint), encoding="binary", batch_tokens=99))

    assert len(loads) <= 1
    (only,) = other._loaded
    assert {id(each._loaded[0]) for each in [*backends, other]} == {id(only)}
    for dtype in ("bfloat16", "int8"):
        others = load(Settings(model=str(pplx_checkpoint), dtype=dtype))
        assert others._loaded[0] is not only


def test_other_weights_with_the_old_time_are_loaded_anew(
    short_tokenizer_json: str, tmp_path: Path
):
    from pplx import CONFIG, SHORT_VOCABULARY, random_tensors, write_pplx

    write_pplx(tmp_path, short_tokenizer_json, **SHORT_VOCABULARY)
    settings = Settings(model=str(tmp_path))
    weights = tmp_path / "model.safetensors"
    one, before = load(settings), weights.stat()
    tensors = random_tensors(CONFIG | SHORT_VOCABULARY, seed=1)
    save_file(tensors, tmp_path / "other", metadata={"format": "pt"})
    (tmp_path / "other").replace(weights)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    other = load(settings)

    assert weights.stat().st_size == before.st_size
    assert other._loaded[0] is not one._loaded[0]


def test_closing_one_embedder_does_not_break_another(pplx_checkpoint: Path):
    one = Embedder.open(model=str(pplx_checkpoint))
    two = Embedder.open(model=str(pplx_checkpoint))
    expected = one.embed_documents(DOCUMENTS)
    one.close()

    assert np.array_equal(expected[0], two.embed_documents(DOCUMENTS)[0])
    with pytest.raises(BackendError, match="closed"):
        one.embed_documents(DOCUMENTS)


def test_weights_leave_memory_with_their_last_embedder(short_tokenizer_json: str, tmp_path: Path):
    from pplx import SHORT_VOCABULARY, write_pplx

    write_pplx(tmp_path, short_tokenizer_json, **SHORT_VOCABULARY)
    backend = load(Settings(model=str(tmp_path)))
    gone = weakref.ref(backend._loaded[0])
    backend.close()
    gc.collect()

    assert gone() is None


def test_one_thread_at_a_time_enters_the_model(
    pplx_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    from ctxembed.backends.torch import backend as module

    inside, most, original = [], [], module.segment_means

    def watched(*args):
        inside.append(threading.get_ident())
        most.append(len(inside))
        found = original(*args)
        inside.pop()
        return found

    monkeypatch.setattr(module, "segment_means", watched)
    embedder = Embedder.open(model=str(pplx_checkpoint))
    expected = embedder.embed_documents(DOCUMENTS)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: embedder.embed_documents(DOCUMENTS), range(16)))

    assert max(most) == 1
    assert all(np.array_equal(expected[0], each[0]) for each in found)


async def test_many_tasks_share_a_model(pplx_checkpoint: Path):
    async with Embedder.open(model=str(pplx_checkpoint)) as embedder:
        expected = embedder.embed_documents(DOCUMENTS)  # sync, inside a running loop
        tasks = [asyncio.create_task(embedder.aembed_documents(DOCUMENTS)) for _ in range(8)]
        tasks[3].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(found.pop(3), asyncio.CancelledError)
    assert all(np.array_equal(expected[0], each[0]) for each in found)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_forked_child_uses_what_is_loaded_and_loads_more(pplx_checkpoint: Path, dtype: str):
    embedder = Embedder.open(model=str(pplx_checkpoint))
    document = [["word " * 300] * 5]
    expected = embedder.embed_documents(document)
    context = multiprocessing.get_context("fork")
    results = context.Queue()

    def work():
        theirs = Embedder.open(model=str(pplx_checkpoint), dtype=dtype)
        results.put([each.embed_documents(document)[0] for each in (embedder, theirs)])

    child = context.Process(target=work)
    child.start()
    inherited, loaded = results.get(timeout=60)
    child.join(60)

    assert child.exitcode == 0
    assert np.abs(inherited.astype(int) - expected[0].astype(int)).max() <= 1
    assert np.abs(loaded.astype(int) - expected[0].astype(int)).max() <= 4
