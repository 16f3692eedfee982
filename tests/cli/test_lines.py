"""Lines of JSON to documents: what is taken, and what is said of the rest."""

import json

import pytest

from ctxembed import ConfigurationError, InputError
from ctxembed.files.documents import Document, parse_line, read_documents


def words(text):
    return text.split()


def read(*lines):
    return list(read_documents([line + b"\n" for line in lines], words))


def test_chunks_are_taken_as_they_are():
    assert ("a", ["one", " two "]) == parse_line(b'{"id": "a", "chunks": ["one", " two "]}', words)


def test_text_is_split():
    assert ("a", ["one", "two"]) == parse_line(b'{"id": "a", "text": "one two"}', words)


def test_other_names_are_ignored():
    assert ("a", ["x"]) == parse_line(b'{"id": "a", "title": 3, "chunks": ["x"]}', words)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nonsense", "is not JSON: Expecting value at column 1."),
        (b'{"id": "a", "chunks": ["x"]', "is not JSON: Expecting ',' delimiter at column 28."),
        (b'["a"]', 'has to be an object with "id" and "chunks" or "text", got an array.'),
        (b"null", 'has to be an object with "id" and "chunks" or "text", got null.'),
        (b'{"chunks": ["x"]}', 'has no "id".'),
        (b'{"id": 7, "chunks": ["x"]}', '"id" has to be a string, got a number.'),
        (b'{"id": true, "chunks": ["x"]}', '"id" has to be a string, got a boolean.'),
        (b'{"id": " ", "chunks": ["x"]}', '"id" is empty or only whitespace.'),
        (b'{"id": "\\ud800", "chunks": ["x"]}', '"id" has a lone surrogate at character 0'),
        (b'{"id": "a"}', 'has neither "chunks" nor "text".'),
        (b'{"id": "a", "chunks": ["x"], "text": "x"}', 'has both "chunks" and "text".'),
        (b'{"id": "a", "chunks": "x"}', '"chunks" has to be an array of strings, got a string.'),
        (b'{"id": "a", "text": ["x"]}', '"text" has to be a string, got an array.'),
        (b'{"id": "a", "chunks": []}', "has no chunks."),
        (b'{"id": "a", "text": "x\\udfff"}', '"text" has a lone surrogate at character 1'),
        (b'{"id": "a", "chunks": ["\xff"]}', "is not UTF-8 at byte 24."),
        ('{"id": "a"}'.encode("utf-16"), "is UTF-16. Hint: save the file as UTF-8."),
        (b"[" * 100_000, "nested too deep"),
        (b'{"id": "a", "n": ' + b"1" * 5000 + b"}", "a number with too many digits"),
    ],
)
def test_bad_line_says_what_is_wrong(line, reason):
    with pytest.raises(InputError) as caught:
        parse_line(line, words)

    assert reason in str(caught.value.message)


def test_id_is_known_as_soon_as_it_is_read():
    with pytest.raises(InputError) as caught:
        parse_line(b'{"id": "a", "chunks": 3}', words)

    assert caught.value.key == "a"


def test_numbers_count_blank_lines():
    found = read(b"", b'{"id": "a", "chunks": ["x"]}', b"  \r", b'{"id": "b", "chunks": ["y"]}\r')

    assert [(2, "a", ["x"]), (4, "b", ["y"])] == [(d.line, d.id, d.chunks) for d in found]


def test_byte_order_mark_is_passed_over_at_the_start_only():
    first, second = read(b'\xef\xbb\xbf{"id": "a", "chunks": ["x"]}', b"\xef\xbb\xbf{}")

    assert first.id == "a"
    assert "is not JSON" in second.reason


def test_second_line_with_an_id_names_the_first():
    good, bad = read(b'{"id": "a", "chunks": ["x"]}', b'{"id": "a", "chunks": ["y"]}')

    assert isinstance(good, Document)
    assert str(bad) == (
        "line 2 (id 'a'): its id is on line 1 already. Hint: give each document its own."
    )


def test_long_id_is_shortened_in_a_message_and_whole_in_the_record():
    line = json.dumps({"id": "x" * 500, "chunks": 3}).encode()
    (failure,) = read(line)

    assert len(str(failure)) < 200
    assert failure.id == "x" * 500


def test_what_is_wrong_with_every_line_is_no_bad_line():
    def refuse(_):
        raise ConfigurationError("chunk_tokens is too small.")

    with pytest.raises(ConfigurationError):
        list(read_documents([b'{"id": "a", "text": "x"}'], refuse))
