"""What a checkpoint says about itself becomes a `ModelSpec`, or a refusal with its reason."""

import json

import pytest

from ctxembed.backends.config import is_pplx, read_config, spec_from_config
from ctxembed.backends.sentence_transformers_files import check_parts, with_prompts
from ctxembed.errors import ConfigurationError, ModelLoadError
from ctxembed.settings import Settings

PPLX = {
    "model_type": "bidirectional_pplx_qwen3",
    "hidden_size": 1024,
    "max_position_embeddings": 32768,
    "auto_map": {"AutoModel": "modeling.PPLXQwen3ContextualModel"},
}


def check_pooling(directory, pooling, config=None):
    check_parts(directory, config or {}, Settings(pooling=pooling))


def write(path, values):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(values))


def test_a_contextual_pplx_checkpoint_uses_its_whole_window():
    spec = spec_from_config(PPLX, "here", 0)
    assert is_pplx(PPLX)
    assert (spec.dimensions, spec.max_tokens, spec.window_tokens) == (1024, 32768, 32768)
    assert (spec.contextual, spec.context_weight, spec.quantizer) == (True, 1.0, "tanh")
    assert spec.separator == "<|endoftext|>"


def test_a_pplx_checkpoint_that_is_not_contextual_embeds_each_chunk_alone():
    config = {**PPLX, "auto_map": {"AutoModel": "modeling.PPLXQwen3Model"}}
    spec = spec_from_config(config, "here", 0)
    assert (spec.contextual, spec.context_weight, spec.quantizer) == (False, 0.0, "tanh")
    assert not spec_from_config({**PPLX, "auto_map": None}, "here", 0).contextual


def test_another_encoder_gets_short_windows_and_half_the_weight():
    config = {"model_type": "bert", "hidden_size": 384, "max_position_embeddings": 512}
    spec = spec_from_config(config, "here", 2)
    assert not is_pplx(config)
    assert (spec.dimensions, spec.max_tokens, spec.window_tokens) == (384, 510, 256)
    assert (spec.contextual, spec.context_weight, spec.quantizer) == (False, 0.5, "scale")
    short = spec_from_config({**config, "max_position_embeddings": 128}, "here", 2)
    assert (short.max_tokens, short.window_tokens) == (126, 126)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "mpnet", "camembert", "luke", "esm"])
def test_families_that_count_positions_from_the_padding_on_lose_two(family):
    config = {"model_type": family, "hidden_size": 8, "max_position_embeddings": 514}
    assert spec_from_config({**config, "pad_token_id": 1}, "here", 2).max_tokens == 510


def test_other_names_of_width_and_positions_are_known():
    spec = spec_from_config({"n_embd": 768, "n_positions": 2048}, "here", 2)
    assert (spec.dimensions, spec.max_tokens) == (768, 2046)
    assert spec_from_config({"dim": 768}, "here", 2).max_tokens == 510


def test_a_configuration_without_a_width_is_refused():
    with pytest.raises(ModelLoadError, match="hidden_size"):
        spec_from_config({"model_type": "bert"}, "here", 2)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_missing_or_broken_configuration_is_named(tmp_path, content):
    with pytest.raises(ModelLoadError, match=r"no config\.json"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": {}}')
    with pytest.raises(ModelLoadError, match="a name under model_type"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls_token"),
        ({"pooling_mode_lasttoken": True}, "lasttoken"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_other_ways_of_pooling_are_refused_unless_insisted_on(tmp_path, values, mode):
    write(tmp_path / "1_Pooling" / "config.json", values)
    with pytest.raises(ConfigurationError, match=rf"pools by {mode}.*pooling=\"mean\""):
        check_pooling(tmp_path, "auto")
    check_pooling(tmp_path, "mean")


def test_mean_pooling_and_silence_pass(tmp_path):
    check_pooling(tmp_path, "auto")
    values = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    write(tmp_path / "1_Pooling" / "config.json", values)
    check_pooling(tmp_path, "auto")


def test_the_list_of_modules_says_where_the_pooling_lies(tmp_path):
    modules = [
        {"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "2_Pool", "type": "sentence_transformers.models.Pooling"},
    ]
    write(tmp_path / "modules.json", modules)
    write(tmp_path / "2_Pool" / "config.json", {"pooling_mode_cls_token": True})
    with pytest.raises(ConfigurationError, match="pools by cls_token"):
        check_pooling(tmp_path, "auto")
    modules[1] = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    write(tmp_path / "modules.json", modules)
    for pooling in ("auto", "mean"):
        with pytest.raises(ConfigurationError, match="another layer"):
            check_pooling(tmp_path, pooling)


POOLING = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}


@pytest.mark.parametrize("kind", ["LayerNorm", "LSTM", "CNN", "WeightedLayerPooling", "Asym"])
def test_any_other_part_is_refused_by_name(tmp_path, kind):
    part = {"path": "2_X", "type": f"sentence_transformers.models.{kind}"}
    write(tmp_path / "modules.json", [POOLING, part])
    for pooling in ("auto", "mean"):
        with pytest.raises(ConfigurationError, match=rf"another layer \({kind}\)"):
            check_pooling(tmp_path, pooling)


def test_the_usual_parts_and_the_codes_of_pplx_pass(tmp_path):
    usual = [
        {"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
        POOLING,
        {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    write(tmp_path / "modules.json", usual)
    write(tmp_path / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    check_pooling(tmp_path, "auto")
    write(tmp_path / "modules.json", [*usual, {"type": "st_quantize.FlexibleQuantizer"}])
    with pytest.raises(ConfigurationError, match="FlexibleQuantizer"):
        check_pooling(tmp_path, "auto")
    check_pooling(tmp_path, "auto", PPLX)


@pytest.mark.parametrize("modules", [["x"], [None], {"a": 1}, 3])
def test_a_list_of_parts_that_is_none_is_named(tmp_path, modules):
    write(tmp_path / "modules.json", modules)
    with pytest.raises(ModelLoadError, match=r"modules\.json is not a list"):
        check_pooling(tmp_path, "auto")


def test_pooling_without_the_prompt_is_refused_where_there_is_one(tmp_path):
    write(tmp_path / "1_Pooling" / "config.json", {"include_prompt": False})
    write(tmp_path / "config_sentence_transformers.json", {"prompts": {"query": ""}})
    check_pooling(tmp_path, "auto")
    write(tmp_path / "config_sentence_transformers.json", {"prompts": {"query": "query: "}})
    with pytest.raises(ConfigurationError, match=r"pools without it \(include_prompt\)"):
        check_pooling(tmp_path, "auto")
    check_pooling(tmp_path, "mean")


@pytest.mark.parametrize("name", ["document", "passage"])
def test_prompts_are_prefixes(tmp_path, name):
    """An asymmetric encoder says what stands before queries and documents."""
    spec = spec_from_config({"hidden_size": 8}, "here", 2)
    assert with_prompts(spec, tmp_path) == spec
    prompts = {"query": "query: ", name: "passage: ", "odd": 3}
    write(tmp_path / "config_sentence_transformers.json", {"prompts": prompts})
    found = with_prompts(spec, tmp_path)

    assert (found.query_prefix, found.document_prefix) == ("query: ", "passage: ")
