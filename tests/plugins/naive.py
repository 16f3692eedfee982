"""Late chunking written anew, as plainly as it can be, in float64: what tests compare with.

One document at a time: join the chunks' ids with the separator, run the whole model with full
attention, look for the separators, take means, tanh, round. Shares no code with ctxembed.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np


@cache
def read(directory: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Return a checkpoint's configuration and its tensors in float64."""
    from safetensors.torch import load_file

    tensors = {}
    for path in sorted(directory.glob("*.safetensors")):
        tensors |= {name: tensor.double().numpy() for name, tensor in load_file(path).items()}
    return json.loads((directory / "config.json").read_text()), tensors


def norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weight


def rotate(x: np.ndarray, theta: float) -> np.ndarray:
    """Turn `(tokens, heads, size)` by its positions, halves against halves."""
    tokens, _, size = x.shape
    frequencies = theta ** (-np.arange(0, size, 2) / size)
    angles = np.outer(np.arange(tokens), frequencies)[:, None]
    one, two = x[..., : size // 2], x[..., size // 2 :]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([one * cos - two * sin, two * cos + one * sin], -1)


def states(directory: Path, ids: list[int]) -> np.ndarray:
    """Return the last hidden states of one sequence, every token seeing every other."""
    config, tensors = read(directory)
    epsilon, theta = config["rms_norm_eps"], config["rope_theta"]
    heads, kv_heads, size = (
        config[name] for name in ("num_attention_heads", "num_key_value_heads", "head_dim")
    )
    x = tensors["embed_tokens.weight"][ids]
    for number in range(config["num_hidden_layers"]):
        layer = {
            name.removeprefix(f"layers.{number}.").removesuffix(".weight"): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"layers.{number}.")
        }
        y = norm(x, layer["input_layernorm"], epsilon)
        q = (y @ layer["self_attn.q_proj"].T).reshape(-1, heads, size)
        k = (y @ layer["self_attn.k_proj"].T).reshape(-1, kv_heads, size)
        v = (y @ layer["self_attn.v_proj"].T).reshape(-1, kv_heads, size)
        q = rotate(norm(q, layer["self_attn.q_norm"], epsilon), theta)
        k = rotate(norm(k, layer["self_attn.k_norm"], epsilon), theta)
        k, v = (np.repeat(each, heads // kv_heads, axis=1) for each in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(size)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("hqk,khd->qhd", shares, v).reshape(len(ids), -1)
        x = x + mixed @ layer["self_attn.o_proj"].T
        y = norm(x, layer["post_attention_layernorm"], epsilon)
        gate, up = y @ layer["mlp.gate_proj"].T, y @ layer["mlp.up_proj"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ layer["mlp.down_proj"].T
    return norm(x, tensors["norm.weight"], epsilon)


def separator_id(directory: Path) -> int:
    """Return the id of the token between chunks, which is the one that ends a text."""
    config, _ = read(directory)
    return config["eos_token_id"]


def pooled(directory: Path, chunks: list[list[int]]) -> np.ndarray:
    """Return one float64 mean per chunk, for the ids of one document's chunks."""
    separator = separator_id(directory)
    ids = [token for chunk in chunks for token in [*chunk, separator]][:-1]
    hidden = states(directory, ids)
    borders = [-1, *(i for i, token in enumerate(ids) if token == separator), len(ids)]
    return np.stack(
        [hidden[start + 1 : stop].mean(0) for start, stop in zip(borders, borders[1:])]  # noqa: B905, RUF007
    )


def codes(directory: Path, chunks: list[list[int]]) -> np.ndarray:
    """Return the int8 codes of one document."""
    return np.rint(np.tanh(pooled(directory, chunks)) * 127).astype(int)
