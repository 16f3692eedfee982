"""What every engine that gives token states needs around it: ids, batches, means, codes.

Chunks are joined by the separator and found again by it, as on the model card. That is safe here:
no chunk of the documents has the separator in its text.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

SEPARATOR = "<|endoftext|>"
BATCH_TOKENS = 2048
"""Tokens in a padded batch: the best of 1,024, 2,048 and 4,096 for the runtimes measured here."""

Documents = list[list[str]]
States = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes ids and a mask, (batch, tokens), and gives states, (batch, tokens, width)."""


def joined(documents: Documents) -> list[str]:
    """Return each document as one text."""
    return [SEPARATOR.join(chunks) for chunks in documents]


def tokenizer(checkpoint: Path) -> Callable[[list[str]], list[list[int]]]:
    """Return what turns texts into ids, without padding."""
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    return lambda texts: [each.ids for each in found.encode_batch(texts)]


def spans(ids: np.ndarray, separator: int) -> list[tuple[int, int]]:
    """Return where each chunk lies between separators."""
    ends = [*np.flatnonzero(ids == separator).tolist(), len(ids)]
    return list(zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True))


def codes(states: np.ndarray, found: list[tuple[int, int]]) -> np.ndarray:
    """Return the int8 codes of the means of a document's chunks."""
    means = np.stack([states[start:stop].mean(0, dtype=np.float32) for start, stop in found])
    return np.round(np.tanh(means) * 127).astype(np.int8)


def batches(lengths: list[int], most: int) -> Iterator[list[int]]:
    """Yield numbers of documents of like length, at most so many tokens per batch with padding."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if batch and lengths[batch[0]] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(number)
    yield batch


def in_batches(checkpoint: Path, states: States) -> Callable[[Documents], list[np.ndarray]]:
    """Return the way from documents to codes through an engine that takes padded batches."""
    encode = tokenizer(checkpoint)
    (separator,) = encode([SEPARATOR])[0]

    def embed(documents: Documents) -> list[np.ndarray]:
        ids = [np.array(each) for each in encode(joined(documents))]
        found: list[np.ndarray] = [np.empty(0)] * len(ids)
        for batch in batches([len(each) for each in ids], BATCH_TOKENS):
            shape = len(batch), max(len(ids[number]) for number in batch)
            filled, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            for row, number in enumerate(batch):
                filled[row, : len(ids[number])] = ids[number]
                mask[row, : len(ids[number])] = 1
            for number, row in zip(batch, states(filled, mask), strict=True):
                found[number] = codes(row, spans(ids[number], separator))
        return found

    return embed
