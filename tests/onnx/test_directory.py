"""Directories with ONNX weights: the vendor's layout, other encoders, and what is refused.

The graphs are a few operators each, written here byte by byte: no exporter is needed.
"""

import json
import shutil
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import onnx_graphs
import pytest

pytest.importorskip("onnxruntime")

import onnxruntime
from onnx_graphs import (
    FLOAT,
    INT32,
    INTEGERS_AXES,
    cast,
    field,
    ids,
    model,
    node,
    states,
    tensor,
    value,
)
from tokenizers import Tokenizer, models, pre_tokenizers

from ctxembed.backends import open_backend
from ctxembed.backends.onnx import device as onnx_device
from ctxembed.backends.onnx import session
from ctxembed.embedder import Embedder
from ctxembed.encoding import quantize_tanh
from ctxembed.errors import (
    BackendError,
    ConfigurationError,
    MissingDependencyError,
    ModelLoadError,
    NonFiniteError,
    ResponseError,
)
from ctxembed.settings import Settings

WIDTH = 8
WORDS = ["<|endoftext|>", *"abcdefghij"]
WEIGHTS = np.random.default_rng(0).normal(size=(len(WORDS), WIDTH)).astype(np.float32)


def encoder(weights=WEIGHTS, **options):
    return onnx_graphs.encoder(weights, **options)


def leaky(share, *, masked=True):
    """Each state is its word's row plus a share of the mean of all rows, those of padding too."""
    nodes = [
        node("Gather", ["words", "input_ids"], ["rows"]),
        node("ReduceMean", ["rows"], ["mean"]) + field(5, INTEGERS_AXES),
        node("Mul", ["mean", "share"], ["part"]),
        node("Add", ["rows", "part"], ["sum" if masked else "last_hidden_state"]),
    ]
    inputs = [ids()]
    if masked:
        inputs.append(ids("attention_mask"))
        nodes += [
            cast("attention_mask", "seen"),
            node("Unsqueeze", ["seen", "two"], ["mask"]),
            node("Mul", ["sum", "mask"], ["last_hidden_state"]),
        ]
    constants = [
        tensor("words", WEIGHTS),
        tensor("share", np.array([share], np.float32)),
        tensor("two", np.array([2])),
    ]
    return model(nodes, constants, inputs, [states()])


@pytest.fixture
def directory(tmp_path):
    """A pplx-like model in the vendor's layout, its weights in a file of their own."""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(encoder(external="model.onnx_data"))
    (tmp_path / "onnx" / "model.onnx_data").write_bytes(WEIGHTS.tobytes())
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "special_tokens_map.json").write_text('{"sep_token": "<|endoftext|>"}')
    configure(tmp_path)
    return tmp_path


def configure(directory, **changes):
    config = {
        "model_type": "bidirectional_pplx_qwen3",
        "hidden_size": WIDTH,
        "max_position_embeddings": 64,
        "auto_map": {"AutoModel": "modeling.PPLXQwen3ContextualModel"},
    }
    (directory / "config.json").write_text(json.dumps(config | changes))


def put(directory, graph, name="onnx/model.onnx"):
    (directory / name).write_bytes(graph)


def opened(directory, **changes):
    return Embedder.open(model=str(directory), **changes)


def naive(document, weights=WEIGHTS):
    """Late chunking by hand: rows of the words and separators, plus the mean of them all."""
    joined = f" {WORDS[0]} ".join(document).split()
    rows = np.array([weights[WORDS.index(word)] for word in joined], float)
    hidden = rows + rows.mean(axis=0)
    borders = [-1, *(n for n, word in enumerate(joined) if word == WORDS[0]), len(joined)]
    spans = pairwise(borders)
    return np.array([hidden[start + 1 : stop].mean(axis=0) for start, stop in spans])


def random_documents(count):
    rng = np.random.default_rng(3)
    return [
        [" ".join(rng.choice(WORDS[1:], rng.integers(1, 8))) for _ in range(rng.integers(1, 6))]
        for _ in range(count)
    ]


def test_the_vendor_s_layout_gives_the_codes_of_a_naive_late_chunking(directory):
    documents = random_documents(40)
    with opened(directory) as embedder:
        assert embedder.backend.spec.contextual
        found = embedder.embed_documents(documents)
    for document, codes in zip(documents, found, strict=True):
        assert codes.dtype == np.int8
        np.testing.assert_array_equal(codes, quantize_tanh(naive(document)))


def test_native_forms_are_those_of_the_encodings(directory):
    documents = random_documents(5)
    with opened(directory, encoding="binary") as embedder:
        signs = np.concatenate(embedder.embed_documents(documents))
    expected = np.concatenate([np.where(naive(each) >= 0, 1, -1) for each in documents])
    np.testing.assert_array_equal(signs, expected)


def test_another_encoder_is_mixed_and_has_no_native_codes(directory):
    configure(directory, model_type="bert")
    with opened(directory, encoding="float") as embedder:
        spec = embedder.backend.spec
        assert embedder.backend.forms == {"pooled"}
        assert (spec.context_weight, spec.quantizer, spec.window_tokens) == (0.5, "scale", 64)
        (one,) = embedder.embed_documents([["a b c"]])
    np.testing.assert_allclose(one, naive(["a b c"]), rtol=1e-6)


def test_a_dynamically_quantised_graph_runs_one_window_a_call(directory):
    """Its scale comes from all that is in a call: batched, the same graph gives other codes."""
    put(directory, encoder(dynamic=True))
    documents = random_documents(30)
    with opened(directory) as embedder:
        assert not embedder.backend.limits.padded
        together = embedder.embed_documents(documents)
        alone = [embedder.embed_documents([document])[0] for document in documents]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)

    put(directory, encoder(dynamic=True), "batched.onnx")
    raw = onnxruntime.InferenceSession(str(directory / "batched.onnx"))
    pair = np.array([[1, 2, 3], [4, 5, 6]])
    (both,) = raw.run(None, {"input_ids": pair, "attention_mask": np.ones_like(pair)})
    (first,) = raw.run(None, {"input_ids": pair[:1], "attention_mask": np.ones_like(pair[:1])})
    assert not np.array_equal(both[0], first[0])


@pytest.mark.parametrize(
    ("share", "masked"),
    [(1.0, False), (1.0, True), (0.01, True)],
    ids=["no mask", "much", "faint"],
)
def test_a_graph_whose_states_depend_on_padding_runs_one_window_a_call(directory, share, masked):
    configure(directory, model_type="bert")
    put(directory, leaky(share, masked=masked))
    documents = [["a b"], [" ".join(WORDS[1:] * 3)], ["c"]]
    with opened(directory, encoding="float", context_weight=0) as embedder:
        assert not embedder.backend.limits.padded
        together = embedder.embed_documents(documents)
    for (row,), (text,) in zip(together, documents, strict=True):
        rows = np.array([WEIGHTS[WORDS.index(word)] for word in text.split()], float)
        np.testing.assert_allclose(row, rows.mean(axis=0) * (1 + share), rtol=1e-5, atol=1e-6)


def test_a_graph_that_keeps_to_its_mask_takes_windows_side_by_side(directory):
    with opened(directory) as embedder:
        assert embedder.backend.limits.padded


def test_a_graph_exported_for_one_window_runs_one_window_a_call(directory):
    documents = random_documents(5)
    with opened(directory) as embedder:
        expected = embedder.embed_documents(documents)
    put(directory, encoder(batch=1))
    with opened(directory) as embedder:
        assert not embedder.backend.limits.padded
        found = embedder.embed_documents(documents)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_probe_keeps_to_the_positions_that_a_model_has(directory):
    configure(directory, max_position_embeddings=5)
    nodes = [
        node("Gather", ["words", "input_ids"], ["rows"]),
        node("Gather", ["words", "position_ids"], ["places"]),
        node("Add", ["rows", "places"], ["sum"]),
        cast("attention_mask", "seen"),
        node("Unsqueeze", ["seen", "two"], ["mask"]),
        node("Mul", ["sum", "mask"], ["last_hidden_state"]),
    ]
    constants = [tensor("words", WEIGHTS), tensor("two", np.array([2]))]
    inputs = [ids(), ids("attention_mask"), ids("position_ids")]
    put(directory, model(nodes, constants, inputs, [states()]))
    with opened(directory) as embedder:
        assert embedder.backend.limits.padded
        expected = quantize_tanh(WEIGHTS[1] + WEIGHTS[0])
        np.testing.assert_array_equal(embedder.embed_documents([["a"]])[0][0], expected)


def test_a_graph_that_cannot_run_is_refused_at_load(directory):
    put(directory, encoder(WEIGHTS[:1]))
    with pytest.raises(ModelLoadError, match=r"can't run on a few tokens: ONNX Runtime failed"):
        opened(directory)


def test_only_the_declared_inputs_are_fed_and_in_their_own_type(directory):
    nodes = [
        cast("position_ids", "places"),
        node("Unsqueeze", ["places", "two"], ["place"]),
        node("Gather", ["words", "input_ids"], ["rows"]),
        node("Add", ["rows", "place"], ["last_hidden_state"]),
    ]
    constants = [tensor("words", WEIGHTS), tensor("two", np.array([2]))]
    inputs = [ids(kind=INT32), ids("position_ids", INT32)]
    put(directory, model(nodes, constants, inputs, [states()]))
    with opened(directory, context_weight=0, encoding="float") as embedder:
        row = embedder.embed_query("a b c")
    expected = WEIGHTS[1:4].mean(axis=0) + 1
    np.testing.assert_allclose(row, quantize_tanh(expected) / 127, rtol=1e-6)

    configure(directory, model_type="roberta", pad_token_id=1)
    with opened(directory, encoding="float") as embedder:
        np.testing.assert_allclose(embedder.embed_query("a b c"), expected + 2, rtol=1e-6)


def test_the_only_output_with_a_state_a_token_is_taken_whatever_its_name(directory):
    put(directory, encoder(output="hidden"))
    with opened(directory) as embedder:
        np.testing.assert_array_equal(
            embedder.embed_documents([["a b", "c"]])[0], quantize_tanh(naive(["a b", "c"]))
        )


def test_outputs_that_cannot_be_told_apart_or_are_pooled_are_named(directory):
    gather = node("Gather", ["words", "input_ids"], ["first"])
    nodes = [gather, node("Neg", ["first"], ["second"])]
    outputs = [states("first"), states("second")]
    put(directory, model(nodes, [tensor("words", WEIGHTS)], [ids()], outputs))
    with pytest.raises(ModelLoadError, match=r"gives first, second.*last_hidden_state"):
        opened(directory)
    nodes = [
        gather,
        node("ReduceSum", ["first", "one"], ["sum"]),
        node("Squeeze", ["sum", "one"], ["pooled"]),
    ]
    constants = [tensor("words", WEIGHTS), tensor("one", np.array([1]))]
    put(directory, model(nodes, constants, [ids()], [value("pooled", FLOAT, "batch", WIDTH)]))
    with pytest.raises(ModelLoadError, match="gives pooled, and none"):
        opened(directory)


def test_inputs_that_an_encoder_does_not_have_are_named(directory):
    nodes = [node("Gather", ["words", "input_ids"], ["rows"])]
    nodes.append(node("Add", ["rows", "past_key_values"], ["last_hidden_state"]))
    inputs = [ids(), states("past_key_values")]
    put(directory, model(nodes, [tensor("words", WEIGHTS)], inputs, [states()]))
    with pytest.raises(ModelLoadError, match="takes input_ids, past_key_values"):
        opened(directory)


def test_weights_of_another_width_than_the_configuration_s_are_found_out(directory):
    configure(directory, hidden_size=16)
    with (
        opened(directory) as embedder,
        pytest.raises(ResponseError, match="should have 16 dimensions and have 8"),
    ):
        embedder.embed_query("a")


def test_values_that_are_not_finite_are_an_error_for_their_document_only(directory):
    weights = WEIGHTS.copy()
    weights[3] = np.inf
    weights[4] = np.nan
    put(directory, encoder(weights))
    with opened(directory) as embedder:
        with pytest.raises(NonFiniteError):
            embedder.embed_documents([["c"]])
        found = list(embedder.stream([["a"], ["a", "c d"], ["b"]], errors="return"))
    assert isinstance(found[1], NonFiniteError)
    np.testing.assert_array_equal(found[0], quantize_tanh(naive(["a"])))
    np.testing.assert_array_equal(found[2], quantize_tanh(naive(["b"])))


def test_a_failure_of_the_runtime_is_a_backend_error_without_any_text(directory, monkeypatch):
    def fail(_outputs, feed):
        raise RuntimeError(feed)

    with opened(directory) as embedder:
        loaded = embedder.backend._loaded.session
        monkeypatch.setattr(loaded, "_session", SimpleNamespace(run=fail))
        with pytest.raises(BackendError, match="ONNX Runtime failed on 1 windows") as caught:
            embedder.embed_documents([["j i h"]])
        assert "j i h" not in str(caught.value)
        monkeypatch.undo()
        assert embedder.embed_query("a").shape == (WIDTH,)


def test_a_graph_with_fewer_rows_than_the_tokenizer_has_tokens_is_refused_at_load(directory):
    put(directory, encoder(WEIGHTS[:5]))
    with pytest.raises(ModelLoadError, match=r"fails on the tokenizer's last token, 10\. Hint"):
        opened(directory)


@pytest.mark.parametrize("name", ["../data", "/tmp/data", "sub/data", "c:data", "data.txt"])
@pytest.mark.parametrize("inside", ["graph", "node"])
def test_data_where_no_digest_looks_are_refused(directory, name, inside):
    """Also those of a tensor that is a constant of a node."""
    graph = encoder(external=name)
    if inside == "node":
        constant = field(1, "value") + field(5, tensor("", WEIGHTS, name)) + field(20, 4)
        graph = encoder() + field(7, field(1, node("Constant", [], "x") + field(5, constant)))
    put(directory, graph)
    with pytest.raises(ModelLoadError, match=f"has its data in '{name}'.*beside the graph"):
        opened(directory)


def test_the_hub_s_links_are_followed(directory):
    """Its cache keeps files as links out of the directory."""
    before = opened(directory).embed_query("a b")
    outside = directory.parent / "blobs"
    outside.mkdir()
    for number, name in enumerate(("onnx/model.onnx", "onnx/model.onnx_data", "config.json")):
        (directory / name).rename(outside / str(number))
        (directory / name).symlink_to(outside / str(number))

    assert np.array_equal(before, opened(directory).embed_query("a b"))


@pytest.mark.parametrize("external", ["model.onnx_data", None])
def test_the_identity_samples_every_tensor(directory, external):
    """Between two samples of a large file too; the fingerprint stays as it is."""
    tall = np.tile(WEIGHTS, (60_000, 1))
    seen = set()
    for row in (0, 1):
        other = np.full(8, row, np.int64)
        graph = encoder(tall, external=external) + field(7, field(5, tensor("other", other)))
        put(directory, graph)
        (directory / "onnx" / "model.onnx_data").write_bytes(tall.tobytes())
        seen.add(opened(directory).backend.identity.model.partition(":")[2])

    assert len(seen) == 2


def test_several_graphs_want_one_of_the_usual_name(directory):
    (directory / "onnx" / "model.onnx").rename(directory / "onnx" / "model_q4.onnx")
    with opened(directory) as embedder:
        assert embedder.embed_query("a").shape == (WIDTH,)
    put(directory, encoder(), "onnx/model_fp16.onnx")
    with pytest.raises(ModelLoadError, match=r"onnx/model_fp16\.onnx, onnx/model_q4\.onnx"):
        opened(directory)
    put(directory, encoder(), "model.onnx")
    with opened(directory) as embedder:
        assert embedder.embed_query("a").shape == (WIDTH,)


def test_a_directory_without_onnx_weights_says_where_they_belong(directory):
    shutil.rmtree(directory / "onnx")
    with pytest.raises(ModelLoadError, match=r"no ONNX weights.*onnx/model\.onnx"):
        opened(directory, backend="onnx")
    (directory / "model.safetensors").touch()
    with pytest.raises(ModelLoadError, match='backend="torch" reads them'):
        opened(directory, backend="onnx")


@pytest.mark.parametrize("damage", ["cut", "empty", "words", "data missing", "data cut"])
def test_damaged_weights_are_a_load_error_that_names_the_file(directory, damage):
    graph, data = directory / "onnx" / "model.onnx", directory / "onnx" / "model.onnx_data"
    if damage == "data missing":
        data.unlink()
    elif damage == "data cut":
        data.write_bytes(data.read_bytes()[:-40])
    else:
        kept = {"cut": graph.read_bytes()[:-60], "empty": b"", "words": b"not a graph"}
        graph.write_bytes(kept[damage])
    with pytest.raises(ModelLoadError, match=r"model\.onnx can't be loaded"):
        opened(directory)


def test_missing_parts_are_named(directory):
    (directory / "tokenizer.json").unlink()
    with pytest.raises(ModelLoadError, match=r"no tokenizer\.json"):
        opened(directory)
    (directory / "config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"no config\.json"):
        opened(directory)
    with pytest.raises(ModelLoadError, match="is a file"):
        Embedder.open(model=str(directory / "onnx" / "model.onnx"), backend="onnx")


def test_a_model_that_pools_otherwise_is_refused_unless_insisted_on(directory):
    (directory / "1_Pooling").mkdir()
    told = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(told))
    with pytest.raises(ConfigurationError, match="pools by cls_token"):
        opened(directory)
    with opened(directory, pooling="mean") as embedder:
        assert embedder.embed_query("a").shape == (WIDTH,)


def test_a_hub_id_is_fetched_where_that_is_possible(directory, monkeypatch):
    name = "perplexity-ai/pplx-embed-context-v1-0.6b"
    asked = []

    def fetch(repository, **options):
        asked.append((repository, options["revision"]))
        return str(directory)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    with pytest.raises(ModelLoadError, match="should be 1024 wide and is 8"):
        open_backend(Settings(model=name.partition("/")[2], backend="onnx", revision="main"))
    assert asked == [(name, "main")]
    backend = open_backend(Settings(model="someone/tiny", backend="onnx"))
    assert backend.spec.name == "someone/tiny"


def test_a_hub_id_that_cannot_be_fetched_is_answered_with_what_to_do(monkeypatch):
    settings = Settings(model="someone/never-heard-of", backend="onnx")
    with pytest.raises(ModelLoadError, match=r"could not be fetched.*pass the directory"):
        open_backend(settings)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match="pip install huggingface_hub"):
        open_backend(settings)


@pytest.mark.parametrize("model", ["./nowhere", "/no/where", "~/nowhere", "no/where/at-all"])
def test_a_path_is_not_looked_for_on_the_hub(monkeypatch, model):
    monkeypatch.setattr("huggingface_hub.snapshot_download", pytest.fail)
    with pytest.raises(ModelLoadError, match=f"there is no directory '{model}'"):
        open_backend(Settings(model=model, backend="onnx"))


@pytest.mark.parametrize(
    ("model", "advice"),
    [("pplx-embed-v1-4b", "check the network"), ("minilmm", "check the name .*minilm")],
)
def test_only_a_name_that_is_not_known_is_to_be_checked(monkeypatch, model, advice):
    def fetch(repository, **options):
        raise OSError(repository)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    with pytest.raises(ModelLoadError, match=f"Hint: {advice}"):
        open_backend(Settings(model=model, backend="onnx"))


def test_a_gpu_is_taken_where_the_runtime_has_one(monkeypatch):
    runtime = SimpleNamespace(get_available_providers=lambda: ["CUDAExecutionProvider", "CPU"])
    monkeypatch.setattr(onnx_device, "ort", runtime)
    assert [onnx_device.pick_gpu(name) for name in (None, "cuda", "cuda:2", "cpu")] == [
        0,
        0,
        2,
        None,
    ]


def pretend_cuda(monkeypatch, *, starts):
    """Let the runtime offer CUDA; it runs on the CPU, and says so unless CUDA `starts`."""

    class Session:
        def __init__(self, graph, options, *, providers):
            self.providers = [each[0] for each in providers if isinstance(each, tuple) and starts]
            self.session = onnxruntime.InferenceSession(graph, options)

        def get_providers(self):
            return [*self.providers, "CPUExecutionProvider"]

        def __getattr__(self, name):
            return getattr(self.session, name)

    runtime = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        InferenceSession=Session,
        SessionOptions=onnxruntime.SessionOptions,
    )
    monkeypatch.setattr(session, "ort", runtime)
    monkeypatch.setattr(onnx_device, "ort", runtime)


def test_a_gpu_that_starts_is_told_and_takes_large_batches(directory, monkeypatch):
    pretend_cuda(monkeypatch, starts=True)
    for device, told in ((None, "cuda:0"), ("cuda:2", "cuda:2"), ("cpu", "cpu")):
        with opened(directory, device=device) as embedder:
            assert embedder.backend.device == told
            assert embedder.backend.limits.batch_tokens == (512 if told == "cpu" else 16_384)


def test_a_gpu_that_does_not_start_is_left_for_the_cpu_unless_named(directory, monkeypatch):
    """Also where a session that fell back is there to be shared."""
    pretend_cuda(monkeypatch, starts=False)
    with opened(directory) as embedder:
        assert embedder.backend.device == "cpu"
        assert embedder.backend.limits.batch_tokens == 512
        for name in ("cuda", "cuda:0", "cuda:1"):
            with pytest.raises(ConfigurationError, match=f"'{name}' and .*did not start"):
                opened(directory, device=name)


def test_threads_follow_the_usual_variable(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert session._options().intra_op_num_threads == 3
