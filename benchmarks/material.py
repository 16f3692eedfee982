"""What is measured on: a checkpoint with random weights, and documents of random words."""

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "plugins"))

from pplx import write_pplx
from qwen import tokenizer_json

from ctxembed.backends.work import Work

LAYERS = 4
# One layer is that of Qwen3-0.6B; the whole model has 28.
SHAPE = {
    "hidden_size": 1024,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
    "layer_types": ["full_attention"] * LAYERS,
}
DOCUMENTS, CHUNKS, WORDS = 64, (3, 10), (44, 66)
VOCABULARY = [
    "the",
    "of",
    "and",
    "in",
    "that",
    "river",
    "company",
    "quarter",
    "revenue",
    "grew",
    "by",
    "percent",
    "mountain",
    "chunk",
    "document",
    "window",
    "attention",
    "however",
    "although",
    "second",
    "third",
    "report",
    "table",
    "method",
    "results",
    "show",
    "longer",
    "sentence",
    "several",
    "words",
    "founded",
    "analysis",
    "is",
    "with",
    "from",
    "its",
    "which",
    "people",
    "before",
    "after",
    "water",
]


def prepare(folder: Path) -> None:
    """Write the checkpoint and the documents."""
    write_pplx(folder / "checkpoint", tokenizer_json(), **SHAPE)
    draw = random.Random(7)
    documents = [
        [
            " ".join(draw.choices(VOCABULARY, k=draw.randint(*WORDS))) + "."
            for _ in range(draw.randint(*CHUNKS))
        ]
        for _ in range(DOCUMENTS)
    ]
    (folder / "documents.json").write_text(json.dumps(documents))


def token_counts(folder: Path) -> list[int]:
    """Return the tokens of each document, separators included."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "checkpoint" / "tokenizer.json"))
    documents = json.loads((folder / "documents.json").read_text())
    return [
        sum(len(tokenizer.encode(chunk).ids) for chunk in chunks) + len(chunks) - 1
        for chunks in documents
    ]


def work() -> Work:
    """Return what the model needs: its linear layers, and its attention."""
    width, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    heads, kv_heads = (
        SHAPE[f"num_{name}_heads"] * SHAPE["head_dim"] for name in ("attention", "key_value")
    )
    layer = [(heads, width), (kv_heads, width), (kv_heads, width), (width, heads)]
    layer += [(inner, width), (inner, width), (width, inner)]
    return Work(tuple(layer * LAYERS), LAYERS * heads)


def useful_flops(counts: list[int]) -> float:
    """Return the floating-point operations that the model needs; padding counts as none."""
    return work().operations(counts)
