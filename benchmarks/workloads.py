"""Workloads: checkpoints with random weights, and documents of random words."""

import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ctxembed.backends.flops import Work

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "plugins"))

# One layer is that of Qwen3-0.6B; the whole model has 28.
SHAPE = {
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 3072,
}
WHOLE_MODEL = 28
DOCUMENTS, CHUNKS, WORDS = 64, (3, 10), (44, 66)
TEXT = """
    the of and in that river company quarter revenue grew by percent mountain chunk document
    window attention however although second third report table method results show longer
    sentence several words founded analysis is with from its which people before after water
"""
VOCABULARY = TEXT.split()
# These are two tokens at the start of a chunk: not used where a document is of an exact size.
UNEVEN = {"revenue", "grew", "mountain", "longer", "several", "founded"}

Documents = list[list[str]]


@dataclass(frozen=True)
class Workload:
    """Documents, and the layers of the model that they go through."""

    title: str
    layers: int
    make: Callable[[], Documents]


def _chunk(draw: random.Random, words: int, vocabulary: list[str] = VOCABULARY) -> str:
    return " ".join(draw.choices(vocabulary, k=words)) + "."


def short_documents(count: int = DOCUMENTS) -> Documents:
    """Return documents of 3 to 10 chunks, of about 60 tokens each."""
    draw = random.Random(7)
    return [
        [_chunk(draw, draw.randint(*WORDS)) for _ in range(draw.randint(*CHUNKS))]
        for _ in range(count)
    ]


def document_of(tokens: int) -> list[str]:
    """Return one document of so many tokens, separators included."""
    draw = random.Random(tokens)
    even = [word for word in VOCABULARY if word not in UNEVEN]
    sizes, left = [], tokens + 1
    while left > 2 * max(WORDS):
        sizes.append(draw.randint(*WORDS))
        left -= sizes[-1] + 2  # its words, full stop and separator
    sizes += [left // 2 - 2, left - left // 2 - 2]
    return [_chunk(draw, words, even) for words in sizes]


WORKLOADS = {
    "short": Workload(f"{DOCUMENTS} documents of 3 to 10 chunks", 4, short_documents),
    "long": Workload(
        "documents of 2,048, 4,096 and 8,192 tokens",
        4,
        lambda: [document_of(tokens) for tokens in (2048, 4096, 8192)],
    ),
    "longest": Workload("one document of 32,768 tokens", 1, lambda: [document_of(32_768)]),
    # For trying things out: seconds, and no figure that means anything.
    "tiny": Workload("6 documents, to see that everything runs", 1, lambda: short_documents(6)),
}


def write_checkpoint(folder: Path, layers: int) -> Path:
    """Write a float32 checkpoint of so many layers, unless it is there; return its directory."""
    directory = folder / f"checkpoint-{layers}"
    if not (directory / "model.safetensors").is_file():
        from pplx import write_pplx
        from qwen import tokenizer_json

        kinds = ["full_attention"] * layers
        changes = SHAPE | {"num_hidden_layers": layers, "layer_types": kinds}
        changes["max_window_layers"] = layers
        write_pplx(directory, tokenizer_json(), **changes)
    return directory


def prepare(folder: Path, name: str) -> None:
    """Write what a workload needs into a folder: its checkpoint, and its documents."""
    workload = WORKLOADS[name]
    write_checkpoint(folder, workload.layers)
    (folder / f"{name}.json").write_text(json.dumps(workload.make()))


def read(folder: Path, name: str) -> tuple[Path, Documents]:
    """Return the checkpoint and the documents of a prepared workload."""
    checkpoint = folder / f"checkpoint-{WORKLOADS[name].layers}"
    return checkpoint, json.loads((folder / f"{name}.json").read_text())


def token_counts(checkpoint: Path, documents: Documents) -> list[int]:
    """Return the tokens of each document, separators included."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    return [
        sum(len(tokenizer.encode(chunk).ids) for chunk in chunks) + len(chunks) - 1
        for chunks in documents
    ]


def useful_flops(counts: list[int], layers: int) -> float:
    """Return the floating-point operations that the model needs; padding counts as none."""
    width, inner = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    heads, kv_heads = (
        SHAPE[f"num_{name}_heads"] * SHAPE["head_dim"] for name in ("attention", "key_value")
    )
    layer = ((heads, width), (kv_heads, width), (kv_heads, width), (width, heads))
    feed_forward = ((inner, width), (inner, width), (width, inner))
    return Work((*layer, *feed_forward) * layers, heads * layers).operations(counts)


def kept(folder: Path) -> Path:
    """Return a folder's full path, made where it is missing; git ignores what is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    return folder.resolve()
