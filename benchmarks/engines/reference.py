"""What the model card does: batches padded to the longest, a loop that pools; float32 on a CPU."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

from engines.batches import SEPARATOR, Documents, joined

BATCH = 32


def load(
    checkpoint: Path, *, device: str = "cpu", dtype: str = "float32", size: int = BATCH
) -> Callable[[Documents], list[np.ndarray]]:
    """Return the way from documents to codes, `size` documents per batch."""
    told = json.loads((checkpoint / "config.json").read_text())
    config = Qwen3Config(**{k: v for k, v in told.items() if k not in ("auto_map", "model_type")})
    config.is_causal = False
    model = Qwen3Model(config).eval()
    model.load_state_dict(load_file(checkpoint / "model.safetensors"), assign=True)
    model.to(device, getattr(torch, dtype))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(checkpoint / "tokenizer.json"), pad_token=SEPARATOR, sep_token=SEPARATOR
    )

    def pool(ids: torch.Tensor, mask: torch.Tensor, states: torch.Tensor) -> np.ndarray:
        real = int(mask.sum())
        ends = [*(ids[:real] == tokenizer.sep_token_id).nonzero().flatten().tolist(), real]
        starts = [0, *(end + 1 for end in ends[:-1])]
        rows = [states[one:two].mean(0) for one, two in zip(starts, ends, strict=True)]
        return torch.stack(rows).float().tanh().mul(127).round().to(torch.int8).cpu().numpy()

    def embed(documents: Documents) -> list[np.ndarray]:
        found = []
        for start in range(0, len(documents), size):
            texts = joined(documents[start : start + size])
            batch = tokenizer(texts, padding=True, return_tensors="pt").to(device)
            ids, mask = batch["input_ids"], batch["attention_mask"]
            with torch.inference_mode():
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            found += [pool(*each) for each in zip(ids, mask, states, strict=True)]
        return found

    return embed
