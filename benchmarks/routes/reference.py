"""What the model card does: float32, batches padded to the longest, a loop that pools."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

from routes.batches import SEPARATOR, Documents, joined

BATCH = 32


def load(checkpoint: Path) -> Callable[[Documents], list[np.ndarray]]:
    """Return the way from documents to codes."""
    told = json.loads((checkpoint / "config.json").read_text())
    config = Qwen3Config(**{k: v for k, v in told.items() if k not in ("auto_map", "model_type")})
    config.is_causal = False
    model = Qwen3Model(config).eval()
    model.load_state_dict(load_file(checkpoint / "model.safetensors"), assign=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(checkpoint / "tokenizer.json"), pad_token=SEPARATOR, sep_token=SEPARATOR
    )

    def pool(ids: torch.Tensor, mask: torch.Tensor, states: torch.Tensor) -> np.ndarray:
        real = int(mask.sum())
        ends = [*(ids[:real] == tokenizer.sep_token_id).nonzero().flatten().tolist(), real]
        starts = [0, *(end + 1 for end in ends[:-1])]
        rows = [states[one:two].mean(0) for one, two in zip(starts, ends, strict=True)]
        return torch.stack(rows).tanh().mul(127).round().to(torch.int8).numpy()

    def embed(documents: Documents) -> list[np.ndarray]:
        found = []
        for start in range(0, len(documents), BATCH):
            texts = joined(documents[start : start + BATCH])
            batch = tokenizer(texts, padding=True, return_tensors="pt")
            ids, mask = batch["input_ids"], batch["attention_mask"]
            with torch.inference_mode():
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            found += [pool(*each) for each in zip(ids, mask, states, strict=True)]
        return found

    return embed
