"""Text to chunks of a few tokens each, with the place of each in the text.

Borders fall at the end of a paragraph where one is near, else at the end of a sentence, and within
a sentence only where it is longer than a chunk may be: `semantic-text-splitter` sees to that.
Counting tokens is the model's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from semantic_text_splitter import TextSplitter

from ctxembed.documents import TokenizedChunk
from ctxembed.errors import ConfigurationError
from ctxembed.models import ModelSpec
from ctxembed.settings import Settings

Count = Callable[[str], int]
"""Tells how many tokens a text has."""

_MOST_CHUNK_TOKENS, _CHUNKS_A_WINDOW = 256, 4

Piece = tuple[int, int]
"""`(start, stop)`: the characters of a text that make up a chunk."""


def split_text(text: str, count: Count, chunk_tokens: int) -> list[str]:
    """Return the chunks of a text, `chunk_tokens` tokens each at the most.

    >>> split_text("One two. Three four. Five.", lambda text: len(text.split()), 4)
    ['One two. Three four.', 'Five.']
    """
    return [text[start:stop] for start, stop in pieces(text, count, chunk_tokens)]


def pieces(text: str, count: Count, chunk_tokens: int) -> list[Piece]:
    """Return where the chunks of a text lie: in order, apart, with only whitespace between them.

    Only a single character can have more than `chunk_tokens`. A piece without any token that the
    model knows (control characters, say) joins the one before it, the first the one after it.

    Raises:
        ConfigurationError: `chunk_tokens` is less than 1.
    """
    if chunk_tokens < 1:
        message = f"chunk_tokens is a whole number from 1 up, got {chunk_tokens}. Hint: try 64."
        raise ConfigurationError(message)
    splitter = TextSplitter.from_callback(count, chunk_tokens)
    found = ((start, start + len(chunk)) for start, chunk in splitter.chunk_indices(text))
    joined: list[Piece] = []
    for start, stop in found:
        piece = text[start:stop]
        if not piece.strip():
            continue
        if joined and not count(piece):
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    if len(joined) > 1 and not count(text[slice(*joined[0])]):
        joined[:2] = [(joined[0][0], joined[1][1])]
    return joined


def usual_chunk_tokens(settings: Settings, spec: ModelSpec) -> int:
    """Return the tokens a chunk may have where nobody says: few enough that several share a window."""
    window = settings.window_tokens or spec.window_tokens
    return min(_MOST_CHUNK_TOKENS, max(1, window // _CHUNKS_A_WINDOW))


def splitter(
    tokenize: Callable[[Sequence[str]], Sequence[TokenizedChunk]], chunk_tokens: int
) -> Callable[[str], list[str]]:
    """Return what cuts a text into chunks of up to `chunk_tokens` tokens, as a backend counts them."""
    return lambda text: split_text(text, lambda part: tokenize([part])[0].count, chunk_tokens)
