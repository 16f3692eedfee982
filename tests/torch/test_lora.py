"""An adapter beside a model's weights gives the vectors of the merged model, or a refusal."""

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoints import copy_of
from safetensors.numpy import load_file, save_file

from ctxembed import Embedder, Settings
from ctxembed.errors import ModelLoadError

CHUNKS = ["The river is long.", "It rises in the mountains, they say."]
BERT_LAYERS = ("encoder.layer.0.attention.self.query", "encoder.layer.1.output.dense")
PPLX_LAYERS = ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj")


def vectors(directory: Path) -> np.ndarray:
    (rows,) = Embedder.open(model=str(directory), encoding="float").embed_documents([CHUNKS])
    return rows


def pairs(directory: Path, layers: tuple[str, ...], rank: int = 2) -> dict[str, np.ndarray]:
    """Random A and B for layers of a checkpoint, by the layers' names."""
    random = np.random.default_rng(0)
    shapes = {
        name: load_file(directory / "model.safetensors")[f"{name}.weight"].shape for name in layers
    }
    return {
        name: tuple(
            (0.3 * random.standard_normal(shape)).astype(np.float32)
            for shape in ((rank, inputs), (outputs, rank))
        )
        for name, (outputs, inputs) in shapes.items()
    }


def write_adapter(
    directory: Path, made: dict, prefix: str = "base_model.model.", **config
) -> None:
    told = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["query"]}
    (directory / "adapter_config.json").write_text(json.dumps(told | config))
    named = {
        f"{prefix}{layer}.lora_{letter}.weight": each
        for layer, pair in made.items()
        for letter, each in zip("AB", pair, strict=True)
    }
    save_file(named, directory / "adapter_model.safetensors")


def write_merged(directory: Path, made: dict, scale: float) -> None:
    tensors = load_file(directory / "model.safetensors")
    for layer, (a, b) in made.items():
        tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"] + np.float32(scale) * (b @ a)
    (directory / "model.safetensors").unlink()
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(params=["bert", "pplx"])
def base(request, tiny_bert: Path, pplx_checkpoint: Path):
    """A stock encoder and a pplx model, each with the names of two of its layers."""
    return {
        "bert": (tiny_bert, BERT_LAYERS),
        "pplx": (pplx_checkpoint, PPLX_LAYERS),
    }[request.param]


@pytest.mark.parametrize(
    ("config", "scale"),
    [({}, 2.0), ({"lora_alpha": 3}, 1.5), ({"use_rslora": True}, 4 / 2**0.5)],
)
def test_an_adapter_gives_what_the_merged_weights_give(
    base, tmp_path: Path, config: dict, scale: float
):
    source, layers = base
    adapted, merged = copy_of(source, tmp_path / "a"), copy_of(source, tmp_path / "m")
    made = pairs(source, layers)
    write_adapter(adapted, made, **config)
    write_merged(merged, made, scale)

    assert np.abs(vectors(adapted) - vectors(merged)).max() < 2 / 127
    assert np.abs(vectors(adapted) - vectors(source)).max() > 0.1
    fingerprints = {Settings(model=str(each)).fingerprint() for each in (source, adapted, merged)}
    assert len(fingerprints) == 3


def test_names_may_go_through_the_model_that_was_trained(base, tmp_path: Path):
    """An adapter of a model with a head names its layers below `model` or `bert`."""
    source, layers = base
    one, two = copy_of(source, tmp_path / "1"), copy_of(source, tmp_path / "2")
    made = pairs(source, layers)
    write_adapter(one, made)
    below = "model" if layers == PPLX_LAYERS else "bert"
    write_adapter(two, made, prefix=f"base_model.model.{below}.")

    assert np.array_equal(vectors(one), vectors(two))


def test_weights_stored_the_other_way_round(tiny_bert: Path, tmp_path: Path):
    name = "encoder.layer.0.attention.self.query"  # is square
    made = pairs(tiny_bert, (name,))
    turned, merged = (copy_of(tiny_bert, tmp_path / each) for each in "tm")
    write_adapter(turned, made, fan_in_fan_out=True)
    a, b = made[name]
    write_merged(merged, {name: (b.T, a.T)}, 2.0)

    assert np.abs(vectors(turned) - vectors(merged)).max() < 1e-5


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"peft_type": "IA3"}, "IA3 under peft_type"),
        ({"use_dora": True}, "True under use_dora"),
        ({"bias": "all"}, "'all' under bias"),
        ({"modules_to_save": ["pooler"]}, "modules_to_save"),
        ({"alpha_pattern": {"query": 8}}, "alpha_pattern"),
        ({"init_lora_weights": "pissa"}, "'pissa' under init_lora_weights"),
        ({"something_new": 1}, "something_new"),
        ({"r": None}, "numbers as r and lora_alpha"),
        ({"r": 3}, "of rank 3"),
    ],
)
def test_what_is_not_plain_lora_is_refused_by_name(base, tmp_path: Path, config: dict, words: str):
    source, layers = base
    adapted = copy_of(source, tmp_path / "a")
    write_adapter(adapted, pairs(source, layers), **config)
    with pytest.raises(ModelLoadError, match=rf"{words}.*Hint"):
        vectors(adapted)


def test_an_adapter_of_another_model_is_refused(base, tmp_path: Path):
    source, layers = base
    adapted = copy_of(source, tmp_path / "a")
    (a, b), _ = pairs(source, layers).values()
    for made in ({"no.such.layer": (a, b)}, {layers[0]: (a[:, :-1].copy(), b)}):
        write_adapter(adapted, made)
        with pytest.raises(ModelLoadError, match=r"no\.such\.layer|a change of shape"):
            vectors(adapted)
    write_adapter(adapted, {layers[0]: (a, b)}, prefix="base_model.model.odd.")
    (adapted / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"no adapter_model\.safetensors"):
        vectors(adapted)
    save_file({"x.lora_embedding_A": a}, adapted / "adapter_model.safetensors")
    with pytest.raises(ModelLoadError, match=r"x\.lora_embedding_A, which plain LoRA has not"):
        vectors(adapted)


def test_an_adapter_alone_says_what_it_lacks(tmp_path: Path):
    write_adapter(tmp_path, {})
    with pytest.raises(ModelLoadError, match="an adapter alone"):
        vectors(tmp_path)
