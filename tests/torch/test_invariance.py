"""A row depends on its own document: not on company, order, batch size or the size of the batch."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import texts
from pplx import SHORT_VOCABULARY, write_pplx

from ctxembed import Embedder
from ctxembed.backends import Backend
from ctxembed.backends.torch import load
from ctxembed.settings import Settings
from ctxembed.testing import BackendContract


class TestContract(BackendContract):
    """What every backend promises, on a pplx checkpoint."""

    @pytest.fixture
    def backend(self, pplx_checkpoint: Path) -> Backend:
        return load(Settings(model=str(pplx_checkpoint)))


class TestMiniLMContract(BackendContract):
    """The same on a stock encoder, whose batches are padded."""

    @pytest.fixture
    def backend(self, minilm_checkpoint: Path) -> Backend:
        return load(Settings(model=str(minilm_checkpoint)))


def assert_same(expected: list[np.ndarray], found: list[np.ndarray]) -> None:
    difference = np.abs(np.concatenate(expected).astype(int) - np.concatenate(found).astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


def test_200_documents_alone_shuffled_and_in_any_batch_size(pplx_checkpoint: Path):
    documents = [*texts.documents(180, seed=4, words=16), *texts.documents(20, seed=4)]
    embedder = Embedder.open(model=str(pplx_checkpoint))
    together = embedder.embed_documents(documents)

    assert_same(together, [embedder.embed_documents([each])[0] for each in documents])
    order = random.Random(5).sample(range(200), 200)
    shuffled = embedder.embed_documents([documents[n] for n in order])
    assert_same([together[n] for n in order], shuffled)
    for tokens in (1, 100, 700, 20_000):
        sized = Embedder.open(model=str(pplx_checkpoint), batch_tokens=tokens)
        assert_same(together, sized.embed_documents(documents))


def test_padded_batches_of_an_encoder_change_nothing(minilm_checkpoint: Path):
    documents = [*texts.documents(21, seed=6, words=12), *texts.documents(4, seed=6)]
    settings = Settings(model=str(minilm_checkpoint), context_weight=1.0)
    embedder = Embedder.open(settings)
    together = embedder.embed_documents(documents)

    assert_same(together, [embedder.embed_documents([each])[0] for each in documents])
    for tokens in (1, 300, 20_000):
        sized = Embedder.open(settings, batch_tokens=tokens)
        assert_same(together, sized.embed_documents(documents))


def most_memory() -> int:
    """Return the most KiB that this process held since `forget_memory`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def forget_memory() -> None:
    """Let the kernel count the most memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_a_window_of_all_positions_goes_through_at_flat_memory(
    short_tokenizer_json: str, tmp_path: Path
):
    """With one head, whose matrix of scores would be as large as any other's."""
    one_head = {"num_attention_heads": 1, "num_key_value_heads": 1}
    write_pplx(tmp_path, short_tokenizer_json, **SHORT_VOCABULARY | one_head)
    chunk = "one two three four five six seven " * 9
    embedder = Embedder.open(model=str(tmp_path))
    embedder.embed_documents([[chunk] * 8])
    chunks = [chunk] * (32_768 // (embedder.backend.tokenize([chunk])[0].count + 1))
    forget_memory()
    before = most_memory()
    (found,) = embedder.embed_documents([chunks])

    assert embedder.usage.requests == 2
    assert len(found) == len(chunks) > 400
    assert most_memory() - before < 200_000  # one matrix of scores would be 4 million
