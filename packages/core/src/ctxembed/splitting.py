"""Texts cut into chunks of a few tokens each, with the place of each chunk in its text.

Borders fall at the end of a paragraph where one is near, else at the end of a sentence, and within
a sentence only where it is longer than a chunk may be: `semantic-text-splitter` finds them.
Counting tokens is left to the caller: a backend counts as its model does.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from semantic_text_splitter import TextSplitter

from ctxembed.documents import TokenizedChunk
from ctxembed.errors import ConfigurationError

Tokenize = Callable[[Sequence[str]], Sequence[TokenizedChunk]]
"""Tokenises texts, as a backend does."""

_SENTENCE_END = re.compile(r"[\n\r\u3002\uff01\uff1f]|[.!?\u2026]\s|\Z")
_STRETCH_CHARACTERS, _STRETCH_CHUNKS = 4096, 16


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of a text: the characters `start` to `stop`, tokenised."""

    start: int
    stop: int
    chunk: TokenizedChunk


def split_text(text: str, count: Callable[[str], int], chunk_tokens: int) -> list[str]:
    """Return the chunks of a text, of up to `chunk_tokens` tokens each; `count` counts them.

    >>> split_text("One two. Three four. Five.", lambda text: len(text.split()), 4)
    ['One two. Three four.', 'Five.']
    """
    split = splitter(
        lambda texts: [TokenizedChunk(each, count(each)) for each in texts], chunk_tokens
    )
    return [piece.chunk.text for piece in split(text)]


def splitter(tokenize: Tokenize, chunk_tokens: int) -> Callable[[str], list[Piece]]:
    """Return a function that cuts texts into pieces of up to `chunk_tokens` tokens.

    The pieces of a text are in order and apart, with only whitespace between them. Only a single
    character can have more tokens than `chunk_tokens`. A piece without any token that the model
    knows (control characters, for example) joins the one before it, the first the one after it.
    While a text is cut, no part of it is tokenised twice.

    Raises:
        ConfigurationError: `chunk_tokens` is less than 1.
    """
    if chunk_tokens < 1:
        raise ConfigurationError(
            f"chunk_tokens is a whole number from 1 up, got {chunk_tokens}. Hint: try 64."
        )

    @cache
    def tokenized(part: str) -> TokenizedChunk:
        return tokenize([part])[0]

    def count(part: str) -> int:
        return tokenized(part).count

    stretch = max(_STRETCH_CHARACTERS, _STRETCH_CHUNKS * chunk_tokens)
    borders = TextSplitter.from_callback(count, chunk_tokens)

    def split(text: str) -> list[Piece]:
        tokenized.cache_clear()
        places = _with_tokens(text, _chunks(text, borders, stretch), count)
        return [Piece(start, stop, tokenized(text[start:stop])) for start, stop in places]

    return split


def chunker(tokenize: Tokenize, chunk_tokens: int) -> Callable[[str], list[TokenizedChunk]]:
    """Return a function that cuts texts into chunks, as `splitter` does, without their places."""
    split = splitter(tokenize, chunk_tokens)
    return lambda text: [piece.chunk for piece in split(text)]


def _chunks(text: str, borders: TextSplitter, stretch: int) -> Iterator[tuple[int, str]]:
    """Give place and text of each chunk; a long run without the end of a sentence in stretches.

    The splitter looks at the whole rest of a sentence for each chunk of it, which grows with the
    square. The last chunk of a stretch may have been cut short: the next stretch begins with it.
    """
    start = run = 0
    for end in _SENTENCE_END.finditer(text):
        if end.start() - run > stretch:
            yield from _shifted(borders, text, start, run)
            start = run
            while end.start() - start > stretch:
                found = [*_shifted(borders, text, start, start + stretch)]
                if len(found) < 2:  # noqa: PLR2004 - one is not certain to be whole
                    break
                yield from found[:-1]
                start = found[-1][0]
        run = end.end()
    yield from _shifted(borders, text, start, len(text))


def _shifted(borders: TextSplitter, text: str, start: int, stop: int) -> Iterator[tuple[int, str]]:
    for place, chunk in borders.chunk_indices(text[start:stop]):
        yield start + place, chunk


def _with_tokens(
    text: str, found: Iterable[tuple[int, str]], count: Callable[[str], int]
) -> list[tuple[int, int]]:
    """Return the places of chunks, those without a token joined to a neighbour."""
    joined: list[tuple[int, int]] = []
    for start, chunk in found:
        if not chunk.strip():
            continue
        if joined and not count(chunk):
            joined[-1] = (joined[-1][0], start + len(chunk))
        else:
            joined.append((start, start + len(chunk)))
    if len(joined) > 1 and not count(text[slice(*joined[0])]):
        joined[:2] = [(joined[0][0], joined[1][1])]
    return joined
