"""Whether a model looks past the mask: what both local backends try at load.

Some types apply the mask to a part of their layers only (convolutions, looks at the neighbours,
sketched attention). What their windows are filled up with beside longer ones changes their vectors.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import numpy as np

from ctxembed.backends.tokenizer import ChunkTokenizer
from ctxembed.encoding import Floats

_TEXT = "one two three four five six seven eight nine ten eleven twelve"
_LONG = 40
_LIMIT = 1e-3
"""How far padding may move a mean, relative to its norm: rounding in float32 is far below."""


def probe_windows(tokenizer: ChunkTokenizer, most: int) -> list[array[int]]:
    """Return two windows for `ignores_padding`: of one token, and of forty or at most `most`."""
    (chunk,) = tokenizer.tokenize([_TEXT])
    ids = list(chunk.ids or ()) or [tokenizer.separator]
    sizes = (1, max(1, min(_LONG, most)))
    return [
        array("i", (*tokenizer.opening, *(ids * _LONG)[:size], *tokenizer.closing))
        for size in sizes
    ]


def ignores_padding(
    states: Callable[[Sequence[array[int]]], Sequence[Floats]], windows: Sequence[array[int]]
) -> bool:
    """Tell whether the first window has the same mean alone as filled up to the longest.

    `states` gives a (tokens, hidden size) array per window.
    """
    alone, beside = (states(each)[0].mean(axis=0) for each in (windows[:1], windows))
    with np.errstate(all="ignore"):  # no limit lets NaN pass
        return bool(np.linalg.norm(alone - beside) <= _LIMIT * np.linalg.norm(alone))
