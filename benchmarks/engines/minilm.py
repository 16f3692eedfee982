"""One way from windows of text to chunk vectors with all-MiniLM-L6-v2, and how exact they are.

`python -m engines.minilm WAY THREADS FOLDER` reads `windows.json` in FOLDER and prints one line of
JSON. Whatever makes the vectors makes the chunks too, inside the time. Exact is a chunk's mean over
the states of its tokens, the window alone in a stock float32 model: found by characters afterwards.
"""

import json
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import peak_memory, versions
from report import cosines

from engines.timing import keep_to, timed

CHUNK_TOKENS = 64
LONGEST, SPECIAL = 512, 2
"""Positions that the model has, and of them those for special tokens; every window is shorter."""

Chunk = tuple[int, str, np.ndarray]
"""The window's number, the chunk's text and its vector."""

Way = Callable[[list[str]], list[Chunk]]


def ours(checkpoint: Path, **settings: object) -> Way:
    """Return this project's own way: texts cut as the command line cuts them, windows as given.

    `context_weight` is 1, late chunking alone as the peers do it; the usual for this model mixes in
    the vectors of chunks alone, which takes a second pass.
    """
    from tokenizers import Tokenizer

    from ctxembed import Embedder
    from ctxembed.splitting import split_text

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    told = {"model": str(checkpoint), "encoding": "float", "context_weight": 1.0} | settings
    told["window_tokens"] = LONGEST - SPECIAL  # a window is read whole, as the peers read it
    embedder = Embedder.open(**told)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    def embed(windows: list[str]) -> list[Chunk]:
        documents = [split_text(text, count, CHUNK_TOKENS) for text in windows]
        rows = embedder.embed_documents(documents)
        return [
            (number, chunk, vector)
            for number, (chunks, vectors) in enumerate(zip(documents, rows, strict=True))
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]

    return embed


def chonkie(checkpoint: Path) -> Way:
    """Return chonkie's `LateChunker`, one text at a time: it has no batches."""
    from chonkie import LateChunker
    from chonkie.embeddings.sentence_transformer import SentenceTransformerEmbeddings
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint), device="cpu")
    model.max_seq_length = LONGEST
    chunker = LateChunker(SentenceTransformerEmbeddings(model), chunk_size=CHUNK_TOKENS)

    def embed(windows: list[str]) -> list[Chunk]:
        return [
            (number, chunk.text, chunk.embedding)
            for number, text in enumerate(windows)
            for chunk in chunker.chunk(text)
        ]

    return embed


def afterthoughts(checkpoint: Path) -> Way:
    """Return afterthoughts' `LateEncoder`: batches by tokens, chunks of whole sentences."""
    from afterthoughts import LateEncoder

    encoder = LateEncoder(str(checkpoint), device="cpu", _num_token_jobs=1)

    def embed(windows: list[str]) -> list[Chunk]:
        frame, vectors = encoder.encode(
            windows,
            max_length=LONGEST,
            max_chunk_sents=None,
            max_chunk_tokens=CHUNK_TOKENS,
            show_progress=False,
        )
        places = zip(frame["document_idx"], frame["chunk"], strict=True)
        return [
            (int(number), text, vector)
            for (number, text), vector in zip(places, vectors, strict=True)
        ]

    return embed


WAYS: dict[str, tuple[Callable[..., Way], dict[str, object]]] = {
    "ctxembed-torch": (ours, {"dtype": "float32"}),
    "ctxembed-bfloat16": (ours, {"dtype": "bfloat16"}),
    "ctxembed-int8": (ours, {"dtype": "int8"}),
    "ctxembed-onnx": (ours, {"model": "minilm", "backend": "onnx"}),
    "chonkie": (chonkie, {}),
    "afterthoughts": (afterthoughts, {}),
}


def separated(chunks: list[Chunk]) -> list[str]:
    """Return the windows as this project lays them out: a separator token between chunks."""
    windows: dict[int, list[str]] = {}
    for number, text, _ in chunks:
        windows.setdefault(number, []).append(text)
    return [" [SEP] ".join(windows[number]) for number in sorted(windows)]


def _letters(text: str) -> tuple[str, list[int]]:
    """Return a text without spaces, case and accents, and where each letter of it stood.

    Some chunks of afterthoughts are made from token ids, and lose all three.
    """
    kept = [
        (unicodedata.normalize("NFD", letter.lower())[0], place)
        for place, letter in enumerate(text)
        if not letter.isspace()
    ]
    return "".join(letter for letter, _ in kept), [place for _, place in kept]


def exact(checkpoint: Path, windows: list[str], chunks: list[Chunk]) -> np.ndarray:
    """Return the exact vector of each chunk, shape (chunks, width); NaN where its text isn't found.

    A peer that makes text from token ids loses more than `_letters` makes up for, now and then.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    found = []
    number, states, places, cursor = -1, np.empty(0), np.empty(0), 0
    whole, stood = "", []
    for mine, text, _ in chunks:
        if mine != number:
            number, cursor = mine, 0
            whole, stood = _letters(windows[mine])
            batch = tokenizer(windows[mine], return_offsets_mapping=True, return_tensors="pt")
            places = batch.pop("offset_mapping")[0].numpy()
            with torch.inference_mode():
                states = model(**batch).last_hidden_state[0].numpy()
        wanted, _ = _letters(text)
        first = whole.find(wanted, cursor) if wanted else -1
        if first < 0:
            found.append(np.full_like(states[0], np.nan))
            continue
        cursor = first + len(wanted)
        start, stop = stood[first], stood[cursor - 1] + 1
        inside = (places[:, 0] >= start) & (places[:, 1] <= stop) & (places[:, 1] > places[:, 0])
        found.append(states[inside].mean(0))
    return np.stack(found)


def main(name: str, threads: int, folder: Path) -> None:
    """Measure one way and print."""
    keep_to(threads)
    started = time.perf_counter()
    told = json.loads((folder / "windows.json").read_text())
    windows, checkpoint = told["windows"], Path(told["checkpoint"])
    try:
        load, settings = WAYS[name]
        embed = load(checkpoint, **settings)
        embed(windows[:2])
        ready = time.perf_counter() - started
        runs: list[list[Chunk]] = []
        found = timed(lambda: runs.append(embed(windows)), threads=threads)
        found |= {"memory": peak_memory(), "ready": ready, "versions": versions()}
        chunks = runs[-1]
        if load is ours:
            windows = separated(chunks)
        same = cosines(exact(checkpoint, windows, chunks), np.stack([each[2] for each in chunks]))
        same = same[np.isfinite(same)]
        found |= {"chunks": len(chunks), "compared": len(same)}
        found |= {"lowest": same.min(), "median": float(np.median(same))}
        found["exact"] = float((same > 0.9999).mean())
    except Exception as error:  # noqa: BLE001 - whatever a peer raises: the table tells it
        found = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
