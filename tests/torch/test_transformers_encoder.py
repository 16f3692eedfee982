"""Stock encoders: the same vectors as transformers gives, and refusals where a mean isn't meant."""

import json
from pathlib import Path

import numpy as np
import pytest
import texts
import torch
from checkpoints import copy_of

from ctxembed import Embedder
from ctxembed.backends.torch import load
from ctxembed.backends.torch.transformers_encoder import FastLinear
from ctxembed.batches import Batch
from ctxembed.errors import ConfigurationError, ModelLoadError
from ctxembed.settings import Settings
from ctxembed.windows import Window

CHUNKS = ["The river is long.", "It rises in the mountains, they say.", "In 1897 it froze."]


@pytest.fixture
def spoiled(minilm_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, for a test to change."""
    return copy_of(minilm_checkpoint, tmp_path / "copy")


def stock(directory: Path):
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(directory), AutoModel.from_pretrained(directory).eval()


def cosine(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def test_independent_vectors_are_transformers_mean_over_all_tokens(minilm_checkpoint: Path):
    tokenizer, model = stock(minilm_checkpoint)
    lines = [chunk for document in texts.documents(5, seed=7) for chunk in document]
    lines = [line.replace("[SEP]", "and") for line in lines]  # a token of its own to transformers
    expected = []
    for line in lines:
        with torch.no_grad():
            expected.append(model(**tokenizer(line, return_tensors="pt")).last_hidden_state[0])
    expected = np.stack([states.mean(0).numpy() for states in expected])
    settings = Settings(model=str(minilm_checkpoint), context_weight=0.0, encoding="float")
    found = np.concatenate(Embedder.open(settings).embed_documents([[line] for line in lines]))

    assert np.abs(expected - found).max() < 1e-5
    queries = Embedder.open(settings).embed_queries(lines)
    assert np.abs(expected - queries).max() < 1e-5


def test_contextual_vectors_leave_special_tokens_and_separators_out(minilm_checkpoint: Path):
    tokenizer, model = stock(minilm_checkpoint)
    ids = [tokenizer(chunk, add_special_tokens=False)["input_ids"] for chunk in CHUNKS]
    joined = [101, *ids[0], 102, *ids[1], 102, *ids[2], 102]
    with torch.no_grad():
        states = model(input_ids=torch.tensor([joined])).last_hidden_state[0]
    borders = np.cumsum([1, len(ids[0]) + 1, len(ids[1]) + 1])
    expected = np.stack(
        [
            states[start : start + len(mine)].mean(0)
            for start, mine in zip(borders, ids, strict=True)
        ]
    )
    settings = Settings(model=str(minilm_checkpoint), context_weight=1.0, encoding="float")
    (found,) = Embedder.open(settings).embed_documents([CHUNKS])

    assert np.abs(expected - found).max() < 1e-5


def test_the_embedded_onnx_model_gives_nearly_the_same(minilm_checkpoint: Path):
    documents = texts.documents(15, seed=11)
    exact, embedded = (
        np.concatenate(Embedder.open(model=model, encoding="float").embed_documents(documents))
        for model in (str(minilm_checkpoint), "minilm")
    )

    assert cosine(exact, embedded).min() >= 0.999


def test_bfloat16_stays_close(minilm_checkpoint: Path):
    documents = [*texts.documents(9, seed=8, words=12), *texts.documents(1, seed=8)]
    exact, rounded = (
        np.concatenate(
            Embedder.open(
                model=str(minilm_checkpoint), dtype=dtype, encoding="float"
            ).embed_documents(documents)
        )
        for dtype in ("float32", "bfloat16")
    )

    assert cosine(exact, rounded).min() > 0.999


def test_linear_layers_are_exchanged(minilm_checkpoint: Path):
    model = load(Settings(model=str(minilm_checkpoint)))._loaded[0].model
    if model.kind == "torch":
        pytest.skip("PyTorch's own linear layers are as fast on this machine")

    exchanged = [each for each in model.model.modules() if isinstance(each, FastLinear)]
    assert len(exchanged) >= 6 * 6
    assert not [each for each in model.model.modules() if type(each) is torch.nn.Linear]


def test_facts_come_from_the_checkpoint_s_own_files(minilm_checkpoint: Path):
    backend = load(Settings(model=str(minilm_checkpoint)))

    assert (backend.spec.dimensions, backend.spec.max_tokens) == (384, 510)
    assert (backend.spec.window_tokens, backend.spec.context_weight) == (256, 0.5)
    assert backend.limits.padded
    assert backend.forms == {"pooled"}


def test_a_window_of_all_positions_fits(minilm_checkpoint: Path):
    backend = load(Settings(model=str(minilm_checkpoint)))
    (chunk,) = backend.tokenize(["word " * backend.spec.max_tokens])
    assert chunk.count == 510
    window = Window(
        document=0, first=0, keep=range(1), chunks=(chunk,), tokens=510, independent=True
    )

    assert np.isfinite(backend.embed(Batch((window,), "pooled"))[0]).all()


@pytest.mark.parametrize("mode", ["cls_token", "max_tokens", "lasttoken", "weightedmean_tokens"])
def test_other_pooling_is_refused_unless_the_caller_insists(spoiled: Path, mode: str):
    told = {"pooling_mode_mean_tokens": False, f"pooling_mode_{mode}": True}
    (spoiled / "1_Pooling" / "config.json").write_text(json.dumps(told))
    with pytest.raises(ConfigurationError, match=f'pools by {mode}.*pooling="mean"'):
        load(Settings(model=str(spoiled)))

    assert load(Settings(model=str(spoiled), pooling="mean")).spec.dimensions == 384


def test_a_dense_layer_after_pooling_is_refused(spoiled: Path):
    modules = json.loads((spoiled / "modules.json").read_text())
    modules.append({"idx": 3, "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (spoiled / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigurationError, match="another layer"):
        load(Settings(model=str(spoiled)))


def test_an_encoder_that_says_nothing_is_pooled_by_mean(minilm_checkpoint: Path, spoiled: Path):
    (spoiled / "modules.json").unlink()
    (spoiled / "1_Pooling" / "config.json").unlink()
    one, two = (
        Embedder.open(model=str(directory)).embed_documents([CHUNKS])[0]
        for directory in (minilm_checkpoint, spoiled)
    )

    assert np.array_equal(one, two)


def test_a_missing_tensor_is_named_and_not_drawn_at_random(spoiled: Path):
    from safetensors.torch import load_file, save_file

    path = spoiled / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    del tensors["encoder.layer.3.output.dense.weight"]
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"lacks encoder\.layer\.3\.output\.dense\.weight"):
        load(Settings(model=str(spoiled)))


def test_a_misshapen_or_truncated_checkpoint_is_refused(spoiled: Path):
    path = spoiled / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 1000}))
    with pytest.raises(ModelLoadError, match="can't load"):
        load(Settings(model=str(spoiled)))
    weights = spoiled / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelLoadError, match="damaged or incomplete"):
        load(Settings(model=str(spoiled)))


def test_a_type_that_needs_the_checkpoint_s_own_code_is_refused(spoiled: Path):
    path = spoiled / "config.json"
    told = {"model_type": "homemade", "auto_map": {"AutoModel": "modeling.Homemade"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    (spoiled / "modeling.py").write_text('raise RuntimeError("this must not run")')
    with pytest.raises(ModelLoadError, match="without running code of the checkpoint"):
        load(Settings(model=str(spoiled)))


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_a_decoder_that_says_nothing_is_refused(spoiled: Path, kind: str):
    path = spoiled / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": kind}))
    for name in ("modules.json", "1_Pooling/config.json"):
        (spoiled / name).unlink()
    with pytest.raises(ConfigurationError, match=f"'{kind}' read left to right"):
        load(Settings(model=str(spoiled)))


def test_an_encoder_decoder_is_refused(spoiled: Path):
    path = spoiled / "config.json"
    told = {"model_type": "t5", "is_encoder_decoder": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    with pytest.raises(ModelLoadError, match="encoder and decoder"):
        load(Settings(model=str(spoiled)))


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 30522,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    ("name", "sizes", "tokens"),
    [
        ("XLMRobertaConfig", {"max_position_embeddings": 66, "pad_token_id": 1}, 62),
        ("MPNetConfig", {"max_position_embeddings": 66, "pad_token_id": 1}, 62),
        ("ModernBertConfig", {"max_position_embeddings": 64, "local_attention": 16}, 62),
    ],
)
def test_other_families_read_to_their_last_position(
    minilm_checkpoint: Path, tmp_path: Path, name: str, sizes: dict, tokens: int
):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, name)(**SMALL | sizes)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    for file in ("tokenizer.json", "special_tokens_map.json"):
        (tmp_path / file).write_bytes((minilm_checkpoint / file).read_bytes())
    embedder = Embedder.open(model=str(tmp_path), context_weight=1.0, encoding="float")
    documents = texts.documents(12, seed=9, chunks=5, words=10)
    together = embedder.embed_documents(documents)
    alone = [embedder.embed_documents([document])[0] for document in documents]
    full = ["word " * tokens]

    assert embedder.backend.spec.max_tokens == tokens
    assert cosine(np.concatenate(together), np.concatenate(alone)).min() > 1 - 1e-5
    assert np.isfinite(embedder.embed_documents([full])[0]).all()


@pytest.mark.parametrize(
    ("name", "padded"), [("ConvBert", False), ("Yoso", False), ("Bert", True)]
)
def test_a_model_that_looks_past_the_mask_reads_one_window_a_call(
    minilm_checkpoint: Path, tmp_path: Path, name: str, *, padded: bool
):
    import transformers

    torch.manual_seed(0)
    sizes = SMALL | ({"embedding_size": 32} if name == "ConvBert" else {})
    model = transformers.AutoModel.from_config(getattr(transformers, f"{name}Config")(**sizes))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(tmp_path)
    for file in ("tokenizer.json", "special_tokens_map.json"):
        (tmp_path / file).write_bytes((minilm_checkpoint / file).read_bytes())
    embedder = Embedder.open(model=str(tmp_path), context_weight=1.0)
    documents = texts.documents(12, seed=3, chunks=5, words=10)
    together = np.concatenate(embedder.embed_documents(documents)).astype(int)
    alone = [embedder.embed_documents([document])[0] for document in documents]

    assert embedder.backend.limits.padded == padded
    assert np.abs(together - np.concatenate(alone).astype(int)).max() <= int(padded)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize(("name", "padded"), [("ConvBert", False), ("Bert", True)])
def test_a_faint_look_past_the_mask_is_seen_in_every_type(
    minilm_checkpoint: Path, tmp_path: Path, dtype: str, name: str, *, padded: bool
):
    """What padding moves by is less than bfloat16 rounds by; 8 bits take no padding in any case."""
    import transformers

    torch.manual_seed(0)
    sizes = SMALL | ({"embedding_size": 32} if name == "ConvBert" else {})
    model = transformers.AutoModel.from_config(getattr(transformers, f"{name}Config")(**sizes))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    model.save_pretrained(tmp_path)
    for file in ("tokenizer.json", "special_tokens_map.json"):
        (tmp_path / file).write_bytes((minilm_checkpoint / file).read_bytes())
    backend = load(Settings(model=str(tmp_path), dtype=dtype))

    assert backend.limits.padded == (padded and dtype != "int8")


def test_bfloat16_weights_and_buffers_are_those_that_transformers_loads(
    minilm_checkpoint: Path, tmp_path: Path
):
    import transformers

    torch.manual_seed(0)
    sizes = {"max_position_embeddings": 64, "local_attention": 16}
    config = transformers.ModernBertConfig(**SMALL | sizes)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    for file in ("tokenizer.json", "special_tokens_map.json"):
        (tmp_path / file).write_bytes((minilm_checkpoint / file).read_bytes())
    expected = transformers.AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    wanted = {**dict(expected.named_parameters()), **dict(expected.named_buffers())}
    found = load(Settings(model=str(tmp_path), dtype="bfloat16"))._loaded[0].model.model
    tensors = {**dict(found.named_parameters()), **dict(found.named_buffers())}

    assert {"embeddings.tok_embeddings.weight", "final_norm.weight"} <= tensors.keys()
    assert any(tensor.dtype == torch.float32 for tensor in tensors.values())
    for name, tensor in tensors.items():
        assert tensor.dtype == wanted[name].dtype, name
        assert torch.equal(tensor, wanted[name]), name


def test_a_model_that_cannot_run_is_refused_at_load(minilm_checkpoint: Path, tmp_path: Path):
    import transformers

    config = transformers.BertConfig(**SMALL | {"max_position_embeddings": 2})
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    for file in ("tokenizer.json", "special_tokens_map.json"):
        (tmp_path / file).write_bytes((minilm_checkpoint / file).read_bytes())
    with pytest.raises(ModelLoadError, match="can't run on a few tokens"):
        load(Settings(model=str(tmp_path)))
