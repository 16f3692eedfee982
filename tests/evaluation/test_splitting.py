"""Text to chunks: borders, places, and that nothing is lost."""

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

pytest.importorskip("semantic_text_splitter")

from semantic_text_splitter import TextSplitter

from ctxembed import TokenizedChunk
from ctxembed.errors import ConfigurationError
from ctxembed.splitting import split_text, splitter


def words(text: str) -> int:
    """Count tokens as a model without control characters in its vocabulary might."""
    return len(text.replace("\x00", " ").replace("\u200b", " ").split())


def pieces(text: str, count: Callable[[str], int], limit: int) -> list[tuple[int, int]]:
    """Return where the pieces of a text are."""
    split = splitter(lambda texts: [TokenizedChunk(each, count(each)) for each in texts], limit)
    return [(piece.start, piece.stop) for piece in split(text)]


TEXTS = st.text(
    st.sampled_from(
        "ab.?! \n\t\u00a0\u3000\x00\x1f\u200b\u0301\u00e9\u8a9e\U0001d518\U0001f469\U0001f3fd"
    ),
    max_size=200,
)


@given(st.one_of(TEXTS, st.text(max_size=100)), st.integers(1, 8))
@example("\x1f \x1f", 1)
@example("\x00 \u200b a b \x00", 1)
def test_only_whitespace_lies_outside_the_pieces_and_none_overlap(text: str, limit: int):
    """Pieces are in order and apart; what is between them is whitespace."""
    end = 0
    for start, stop in pieces(text, words, limit):
        assert text[end:start].strip() == ""
        assert end <= start < stop
        assert text[start:stop].strip() != ""
        end = stop
    assert text[end:].strip() == ""


@given(TEXTS, st.integers(1, 8))
def test_a_piece_keeps_the_limit_and_has_a_token(text: str, limit: int):
    """No piece is over the limit, none is without a token where another has one."""
    counts = [words(text[start:stop]) for start, stop in pieces(text, words, limit)]

    assert max(counts, default=0) <= limit
    assert len(counts) <= 1 or min(counts) > 0


def test_borders_fall_at_sentences_where_possible():
    """Whole sentences are packed, and a sentence too long is cut between words."""
    text = "One two. Three four. Five six seven eight nine ten. Eleven."

    assert ["One two. Three four.", "Five six seven eight", "nine ten. Eleven."] == split_text(
        text, words, 4
    )


def test_a_paragraph_is_not_mixed_with_the_next():
    """The end of a paragraph is a border although the next sentence would fit."""
    assert ["One two. Three.", "Four."] == split_text("One two. Three.\n\nFour.", words, 3)


def test_text_without_text_has_no_pieces():
    """Nothing and whitespace give no chunks."""
    assert [] == pieces("", words, 4) == pieces(" \n\x1f", words, 4)


def test_a_chunk_of_no_tokens_is_refused():
    """A limit below 1 is an error with a hint."""
    with pytest.raises(ConfigurationError, match="Hint: try 64"):
        pieces("text", words, 0)


def test_no_part_of_a_text_is_tokenised_twice_and_pieces_come_tokenised():
    """A piece is what was tokenised to count it; one splitter cuts one text after the other."""
    seen: list[str] = []

    def tokenize(texts: Sequence[str]) -> list[TokenizedChunk]:
        seen.extend(texts)
        return [TokenizedChunk(each, words(each), [len(each)]) for each in texts]

    split = splitter(tokenize, 4)
    for text in ("One two. Three four. Five six seven eight nine ten. Eleven.", "One two. Three."):
        seen.clear()
        found = split(text)

        assert len(seen) == len(set(seen))
        assert [text[each.start : each.stop] for each in found] == [
            each.chunk.text for each in found
        ]
        assert {each.chunk.text for each in found} <= set(seen)
        assert all(each.chunk.ids == [len(each.chunk.text)] for each in found)


@pytest.mark.parametrize("letters", ["\u6f22\u5b57\u4eee\u540d", "aB3+/", "a.b,"])
def test_splitting_grows_with_the_length_of_a_text_without_sentences(letters: str):
    """Counted in characters tokenised; borders are those that the whole at once has."""
    random = Random(0)
    text = "".join(random.choices(letters, k=24_000))
    read = []

    def tokenize(texts: Sequence[str]) -> list[TokenizedChunk]:
        read.extend(map(len, texts))
        return [TokenizedChunk(each, len(each)) for each in texts]

    split = splitter(tokenize, 100)
    sums = []
    for size in (12_000, 24_000):
        read.clear()
        found = split(text[:size])
        sums.append(sum(read))
        whole = TextSplitter.from_callback(len, 100).chunks(text[:size])
        assert [piece.chunk.text for piece in found] == whole
    one, two = sums
    assert two < 2.2 * one
    assert one < 100 * 12_000


def test_a_long_run_is_cut_as_a_short_one_is_and_ends_where_its_sentence_ends():
    """What stands around a long run is cut as ever; one token of any length stays whole."""
    run = "\u6f22" * 9_001
    text = f"One two. Three.\n{run}. Four five."
    found = [text[start:stop] for start, stop in pieces(text, len, 10)]

    assert found[:2] == ["One two.", "Three."]
    assert found[2:-2] == ["\u6f22" * 10] * 900
    assert found[-2:] == ["\u6f22.", "Four five."]
    assert pieces(f"a {run}", lambda part: len(part.split()), 1) == [(0, 1), (2, 9_003)]
