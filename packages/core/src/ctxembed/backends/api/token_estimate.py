"""`estimate-v1`: how many tokens texts have, at most, without a tokenizer at hand.

Calibrated on the Qwen vocabulary of the pplx-embed models (the test has the figures). English prose
comes out about 1.3 times too high, other scripts up to 3 times. Only text without words, such as
base64, comes out too low. A change of a number here changes where long documents are cut: that
makes an `estimate-v2`.
"""

from collections.abc import Sequence

import numpy as np

from ctxembed.documents import TokenizedChunk

_OVERESTIMATE = 3
"""No script comes out higher than this many times its tokens."""

# in hundredths of a token, so that sums are exact
_WORD = 80
_LETTER = 11
_OTHER_BYTE = 46
_BLANK = 10
_ANY = 100  # digits, punctuation marks and control characters
_TOGETHER = 128
"""Texts whose letters are weighed at once: few enough for a processor's cache."""

_WEIGHTS = bytearray([_ANY] * 128 + [_OTHER_BYTE] * 128)
_WEIGHTS[ord(" ")] = _BLANK
_WEIGHTS[ord("A") : ord("Z") + 1] = _WEIGHTS[ord("a") : ord("z") + 1] = bytes([_LETTER] * 26)


def estimate_chunks(
    chunks: Sequence[str], limit: int, most: int | None = None
) -> list[TokenizedChunk]:
    """Return each chunk with its estimate, or with the limit where it may still fit into that.

    `most` is what a chunk has at the most where the server is to embed it; the server counts, and
    refuses a longer one.
    """
    most = limit if most is None else min(most, limit)
    estimated = []
    for text, count in zip(chunks, estimate_tokens(chunks), strict=True):
        may_fit = most < count <= limit * _OVERESTIMATE
        estimated.append(TokenizedChunk(text, most if may_fit else count))
    return estimated


def estimate_tokens(texts: Sequence[str]) -> list[int]:
    """Return an upper estimate of the tokens of each text.

    0.8 for a word and 0.11 for each of its letters; 1 for a digit, a punctuation mark or a line
    end; 0.1 for a blank, and 0.46 for every UTF-8 byte of other scripts.

    >>> estimate_tokens(["The company grew by 12 %.", ""])
    [10, 0]
    """
    counts: list[int] = []
    for start in range(0, len(texts), _TOGETHER):
        counts += _estimates(texts[start : start + _TOGETHER])
    return counts


def _estimates(texts: Sequence[str]) -> list[int]:
    encoded = [text.encode("utf-8", "replace") for text in texts]
    # a line end after each text keeps words apart; its own hundred is taken off again
    data = b"\n".join([*encoded, b""])
    weights = np.frombuffer(bytearray(data.translate(_WEIGHTS)), np.uint8)
    letters = weights == _LETTER
    starts_word = letters[1:] > letters[:-1]
    weights[1:] += starts_word * np.uint8(_WORD)
    weights[0] += letters[0] * np.uint8(_WORD)
    starts = np.cumsum([0, *(len(text) + 1 for text in encoded[:-1])])
    sums = np.add.reduceat(weights, starts, dtype=np.int64) - _ANY
    counts: list[int] = (-(-sums // 100)).tolist()
    return counts
