"""vLLM's build for CPUs: token embeddings of whole documents, pooled here."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.batches import SEPARATOR, Documents, codes, joined, spans, tokenizer
from engines.export import plain

BATCH_TOKENS = 4096


def load(checkpoint: Path, dtype: str, longest: int) -> Callable[[Documents], list[np.ndarray]]:
    """Return the way from documents to codes, in this process."""
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: its time is counted
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # cores and threads are chosen by the caller
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": str(checkpoint.parent / "vllm"),
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    from vllm import LLM

    model = LLM(
        model=str(plain(checkpoint)),
        runner="pooling",
        dtype=dtype,
        max_model_len=longest,
        max_num_batched_tokens=max(BATCH_TOKENS, longest),
        enable_prefix_caching=False,
        disable_log_stats=True,
        hf_overrides={"is_causal": False},
        pooler_config={"task": "token_embed", "use_activation": False},
    )
    encode = tokenizer(checkpoint)
    (separator,) = encode([SEPARATOR])[0]

    def embed(documents: Documents) -> list[np.ndarray]:
        ids = encode(joined(documents))
        prompts = [{"prompt_token_ids": each} for each in ids]
        answers = model.encode(prompts, pooling_task="token_embed", use_tqdm=False)
        return [
            codes(np.asarray(answer.outputs.data, np.float32), spans(np.array(mine), separator))
            for answer, mine in zip(answers, ids, strict=True)
        ]

    return embed
