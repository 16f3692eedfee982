"""What loads, from which files, and what is refused in which words."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import copy_of
from safetensors.torch import load_file, save_file

from ctxembed.backends.torch import load
from ctxembed.batches import Batch
from ctxembed.errors import ConfigurationError, ModelLoadError
from ctxembed.settings import Settings
from ctxembed.windows import Window

CHUNKS = ["Rivers flow.", "The company grew by 3%.", "Grüße aus Köln."]


@pytest.fixture
def spoiled(pplx_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, for a test to change."""
    return copy_of(pplx_checkpoint, tmp_path / "copy")


def pooled(directory: Path, **settings) -> np.ndarray:
    backend = load(Settings(model=str(directory), **settings))
    chunks = tuple(backend.tokenize(CHUNKS))
    tokens = sum(chunk.count for chunk in chunks) + 2
    window = Window(document=0, first=0, keep=range(3), chunks=chunks, tokens=tokens)
    (rows,) = backend.embed(Batch((window,), "pooled"))
    backend.close()
    return rows


def cosine(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def rewrite(directory: Path, change) -> None:
    """Change a checkpoint's tensors through a function of their dictionary."""
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tensors = {name: tensor.clone() for name, tensor in change(tensors).items()}
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})


def configure(directory: Path, **changes) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_sharded_checkpoint_loads(pplx_checkpoint: Path, spoiled: Path):
    tensors = load_file(spoiled / "model.safetensors")
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:9]}
    shards["model-00002-of-00002.safetensors"] = names[9:]
    for shard, mine in shards.items():
        save_file({name: tensors[name] for name in mine}, spoiled / shard)
    index = {"weight_map": {name: shard for shard, mine in shards.items() for name in mine}}
    (spoiled / "model.safetensors.index.json").write_text(json.dumps(index))
    (spoiled / "model.safetensors").unlink()

    assert np.array_equal(pooled(pplx_checkpoint), pooled(spoiled))
    (spoiled / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="lacks model-00002-of-00002"):
        load(Settings(model=str(spoiled)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_half_precision_files_load(
    pplx_checkpoint: Path, spoiled: Path, dtype: torch.dtype, wanted: str
):
    rewrite(spoiled, lambda tensors: {name: each.to(dtype) for name, each in tensors.items()})

    assert cosine(pooled(pplx_checkpoint), pooled(spoiled, dtype=wanted)).min() > 0.999


def test_names_may_start_with_model_and_bring_a_language_head(
    pplx_checkpoint: Path, spoiled: Path
):
    def prefixed(tensors):
        named = {f"model.{name}": tensor for name, tensor in tensors.items()}
        return named | {"lm_head.weight": tensors["embed_tokens.weight"]}

    rewrite(spoiled, prefixed)

    assert np.array_equal(pooled(pplx_checkpoint), pooled(spoiled))


def test_no_code_of_a_checkpoint_runs(pplx_checkpoint: Path, spoiled: Path):
    for name in ("modeling.py", "configuration.py", "st_quantize.py"):
        (spoiled / name).write_text('raise RuntimeError("this must not run")')

    assert np.array_equal(pooled(pplx_checkpoint), pooled(spoiled))


def test_transformers_is_imported_for_stock_encoders_only(pplx_checkpoint: Path):
    code = (
        "import sys; from ctxembed import Embedder; "
        "Embedder.open(model=sys.argv[1]).embed_query('hello'); print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, str(pplx_checkpoint)]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert "torch" in loaded
    assert "transformers" not in loaded


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gpu_gives_what_the_cpu_gives(pplx_checkpoint: Path, dtype: str):
    assert (
        cosine(pooled(pplx_checkpoint), pooled(pplx_checkpoint, device="cuda", dtype=dtype)).min()
        > 0.999
    )


def test_facts_come_from_the_checkpoint_s_own_files(pplx_checkpoint: Path):
    spec = load(Settings(model=str(pplx_checkpoint))).spec

    assert (spec.dimensions, spec.max_tokens, spec.window_tokens) == (64, 32768, 32768)
    assert (spec.contextual, spec.context_weight, spec.quantizer) == (True, 1.0, "tanh")
    assert spec.overlap(spec.window_tokens) == 4096


def test_a_missing_tensor_is_named(spoiled: Path):
    gone = "layers.1.mlp.up_proj.weight"
    rewrite(spoiled, lambda tensors: {name: tensors[name] for name in tensors if name != gone})
    with pytest.raises(ModelLoadError, match=r"lacks layers\.1\.mlp\.up_proj\.weight.*Hint"):
        load(Settings(model=str(spoiled)))


def test_a_tensor_too_many_is_named(spoiled: Path):
    rewrite(spoiled, lambda tensors: tensors | {"layers.2.extra": torch.zeros(1)})
    with pytest.raises(ModelLoadError, match=r"no place for: layers\.2\.extra"):
        load(Settings(model=str(spoiled)))


def test_a_misshapen_tensor_is_named(spoiled: Path):
    rewrite(spoiled, lambda tensors: tensors | {"norm.weight": torch.zeros(63)})
    with pytest.raises(ModelLoadError, match=r"another shape: norm\.weight \(63,\), not \(64,\)"):
        load(Settings(model=str(spoiled)))


def test_whole_numbers_are_no_weights(spoiled: Path):
    rewrite(spoiled, lambda t: t | {"norm.weight": torch.zeros(64, dtype=torch.int8)})
    with pytest.raises(ModelLoadError, match=r"norm\.weight as torch\.int8"):
        load(Settings(model=str(spoiled)))


@pytest.mark.parametrize("kept", [0, 7, 500, 1_000_000, -100])
def test_a_file_cut_short_is_damaged(spoiled: Path, kept: int):
    path = spoiled / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:kept])
    with pytest.raises(ModelLoadError, match=r"model\.safetensors is damaged or incomplete"):
        load(Settings(model=str(spoiled)))


def test_a_directory_without_weights_says_so(spoiled: Path):
    (spoiled / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"has no \.safetensors weights"):
        load(Settings(model=str(spoiled)))


def test_a_directory_without_a_tokenizer_says_so(spoiled: Path):
    (spoiled / "tokenizer.json").unlink()
    with pytest.raises(ModelLoadError, match="tokenizer"):
        load(Settings(model=str(spoiled)))


def test_a_tokenizer_of_another_model_is_refused(whole_pplx_checkpoint: Path, tmp_path: Path):
    spoiled = copy_of(whole_pplx_checkpoint, tmp_path / "copy")
    configure(spoiled, vocab_size=1000)
    rewrite(
        spoiled, lambda t: t | {"embed_tokens.weight": t["embed_tokens.weight"][:1000].clone()}
    )
    with pytest.raises(ModelLoadError, match="tokenizer knows 151646 tokens and the model 1000"):
        load(Settings(model=str(spoiled)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, "'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": None}, "'linear'"),
        ({"hidden_size": None}, "hidden_size"),
        ({"num_attention_heads": None}, "num_attention_heads"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"num_key_value_heads": "2"}, "value of the wrong kind"),
        ({"rope_parameters": [1]}, "value of the wrong kind"),
        ({"rope_parameters": {"rope_theta": "x"}}, "value of the wrong kind"),
        ({"layer_types": 5}, "value of the wrong kind"),
        ({"rms_norm_eps": None}, "value of the wrong kind"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "layer_types"),
        ({"num_key_value_heads": 3}, "num_key_value_heads"),
    ],
)
def test_what_the_forward_cannot_do_is_refused(spoiled: Path, changes: dict, words: str):
    configure(spoiled, **changes)
    with pytest.raises(ModelLoadError, match=words):
        load(Settings(model=str(spoiled)))


def test_rotary_base_at_top_level_only(pplx_checkpoint: Path, spoiled: Path):
    configure(spoiled, rope_parameters=None)

    assert np.array_equal(pooled(pplx_checkpoint), pooled(spoiled))
    configure(spoiled, rope_theta=500.0)
    assert not np.allclose(pooled(pplx_checkpoint), pooled(spoiled))


def test_weights_that_are_not_finite_give_an_error_and_no_vector(spoiled: Path):
    from ctxembed.errors import ResponseError

    rewrite(spoiled, lambda t: t | {"norm.weight": torch.full((64,), float("nan"))})
    for form in ("pooled", "int8", "binary"):
        backend = load(Settings(model=str(spoiled)))
        (chunk,) = backend.tokenize(["a"])
        window = Window(
            document=0, first=0, keep=range(1), chunks=(chunk,), tokens=1, independent=True
        )
        with pytest.raises(ResponseError, match="not finite"):
            backend.embed(Batch((window,), form))


@pytest.mark.parametrize("name", ["nobody/has-this-model", "pplx-embed-v2"])
def test_what_cannot_be_fetched_says_what_to_do(name: str):
    with pytest.raises(ModelLoadError, match="download it and pass the directory") as caught:
        load(Settings(model=name))

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["cuda:99", "nonsense", "meta"])
def test_a_device_that_is_not_there_is_a_mistake_in_the_settings(
    pplx_checkpoint: Path, device: str
):
    with pytest.raises(ConfigurationError, match=f"no device '{device}'"):
        load(Settings(model=str(pplx_checkpoint), device=device))


def test_weights_written_anew_are_read_anew(pplx_checkpoint: Path, spoiled: Path):
    first = load(Settings(model=str(spoiled)))
    tensors = load_file(pplx_checkpoint / "model.safetensors")
    tensors["norm.weight"] *= 2
    save_file(tensors, spoiled / "new")
    shutil.move(spoiled / "new", spoiled / "model.safetensors")

    assert np.allclose(2 * pooled(pplx_checkpoint), pooled(spoiled), atol=1e-6)
    first.close()
