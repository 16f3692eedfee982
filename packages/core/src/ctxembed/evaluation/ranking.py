"""The ranking of all chunks of all documents for each query, by cosine.

Everything is in memory. One query against a file, read in parts, is in `cli.nearest_chunks`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctxembed.evaluation.methods import Vectors

DEPTH = 10
"""How many chunks of each ranking are looked at."""

_SCORES_AT_ONCE = 8_000_000


def nearest(queries: Vectors, vectors: Sequence[Vectors], depth: int = DEPTH) -> NDArray[np.intp]:
    """Return chunk numbers, shape (queries, up to `depth`), nearest first, ties in document order.

    All rows are of length 1. Chunks are numbered through all documents.
    """
    chunks = np.concatenate(vectors)
    step = max(1, _SCORES_AT_ONCE // len(chunks))
    blocks = [
        np.argsort(-(queries[start : start + step] @ chunks.T), axis=1, kind="stable")[:, :depth]
        for start in range(0, len(queries), step)
    ]
    return np.concatenate(blocks)
