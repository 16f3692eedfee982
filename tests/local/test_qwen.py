"""The vocabulary of the pplx models: ids as their own encode path gives them."""

import pytest

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer

from ctxembed.backends.tokenizer import from_tokenizer, window_ids
from ctxembed.windows import Window

SEPARATOR = 151643

CARD_CHUNKS = [
    "Curiosity begins in childhood with endless questions about the world.",
    "As we grow, curiosity drives us to explore new ideas.",
    "Scientific breakthroughs often start with a curious question.",
]
# Recorded from pplx-embed-context-v1-0.6b's own encode path.
CARD_IDS = [
    *(16704, 32179, 12033, 304, 19990, 448, 25678, 4755, 911, 279, 1879, 13, 151643, 2121, 582),
    *(3063, 11, 40228, 20118, 601, 311, 13186, 501, 6708, 13, 151643, 50565, 1086, 41345, 82),
    *(3545, 1191, 448, 264, 22208, 3405, 13),
]


@pytest.fixture(scope="module")
def qwen(qwen_tokenizer_json):
    """The public vocabulary."""
    return from_tokenizer(Tokenizer.from_str(qwen_tokenizer_json), "<|endoftext|>")


def test_a_document_has_the_ids_that_the_model_itself_would_give_it(qwen):
    chunks = tuple(qwen.tokenize(CARD_CHUNKS))
    window = Window(document=0, first=0, keep=range(3), chunks=chunks, tokens=37)
    ids, spans = window_ids(window, None, qwen)
    assert list(ids) == CARD_IDS
    assert spans == [(0, 12), (13, 25), (26, 37)]


def test_nothing_stands_around_a_window_and_the_pad_may_be_the_separator(qwen):
    assert (qwen.opening, qwen.closing) == ((), ())
    assert (qwen.separator, qwen.pad) == (SEPARATOR, SEPARATOR)


def test_the_separator_s_text_in_a_chunk_is_ordinary_text(qwen):
    (chunk,) = qwen.tokenize(["a <|endoftext|> b"])
    assert list(chunk.ids) == [64, 82639, 8691, 723, 427, 91, 29, 293]
