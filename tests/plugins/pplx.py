"""Random checkpoints in the public layout of pplx-embed v1, of any size."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from qwen import SEPARATOR_ID, SHORT, VOCABULARY

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

SHORT_VOCABULARY = {"bos_token_id": SHORT, "eos_token_id": SHORT, "vocab_size": SHORT + 3}
"""What changes in the configuration with the short vocabulary: three special tokens follow it."""


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
