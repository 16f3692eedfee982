"""The ways from documents to codes that `foundation.py` compares, each in a process of its own.

`python routes.py ROUTE FOLDER` reads the checkpoint and the documents in FOLDER, prints one line of
JSON, and leaves its codes in `ROUTE.npy`. One thread on one core; times are the process's CPU time.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import peak_memory

SEPARATOR = "<|endoftext|>"
REFERENCE_BATCH = 32

Documents = list[list[str]]


def timed(run: Callable[[], object], times: int) -> dict[str, float]:
    """Return the best CPU time of some runs, and the wall time of that run, in seconds."""
    best = {"cpu": float("inf"), "wall": float("inf")}
    for _ in range(times):
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        best = min(best, spent, key=lambda each: each["cpu"])
    return best


def load_reference(checkpoint: Path) -> Callable[[Documents], list[np.ndarray]]:
    """Return what the model card does: float32, batches padded to the longest, a loop that pools."""
    import torch
    from safetensors.torch import load_file
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

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
        for start in range(0, len(documents), REFERENCE_BATCH):
            part = documents[start : start + REFERENCE_BATCH]
            texts = [SEPARATOR.join(chunks) for chunks in part]
            batch = tokenizer(texts, padding=True, return_tensors="pt")
            ids, mask = batch["input_ids"], batch["attention_mask"]
            with torch.inference_mode():
                states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            found += [pool(*each) for each in zip(ids, mask, states, strict=True)]
        return found

    return embed


def load_ours(checkpoint: Path, dtype: str) -> Callable[[Documents], list[np.ndarray]]:
    """Return what a user of this project calls."""
    from ctxembed import Embedder

    return Embedder.open(model=str(checkpoint), dtype=dtype).embed_documents


def main(name: str, folder: Path) -> None:
    """Run one route, or measure the peak of a type."""
    import torch

    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    kind, _, dtype = name.partition("-")
    if kind == "peak":
        from material import work

        from ctxembed.backends.torch.products import peak

        print(json.dumps({"gflops": peak(work().products, dtype, clock=time.process_time)}))
        return
    documents = json.loads((folder / "documents.json").read_text())
    checkpoint = folder / "checkpoint"
    reference = kind == "reference"
    embed = load_reference(checkpoint) if reference else load_ours(checkpoint, kind)
    embed(documents[:1])
    runs: list[list[np.ndarray]] = []
    spent = timed(lambda: runs.append(embed(documents)), 1 if reference else 2)
    memory = peak_memory()
    np.save(folder / f"{name}.npy", np.concatenate(runs[-1]))
    print(json.dumps(spent | {"memory": memory}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
