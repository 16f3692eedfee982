"""Lines of JSON, each with one object: the lines one by one, and checks of what they hold.

Every error says what is wrong with a line and never quotes a text. The caller knows which line of
which file it is, and what the names on it mean.
"""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping

from ctxembed.errors import InputError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}


def numbered_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each line that is not blank.

    Numbers count from 1, blank lines included. A byte order mark is left out at the start of the
    first line.
    """
    for number, line in enumerate(lines, 1):
        content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if content.strip():
            yield number, content


def parse_object(line: bytes, expected: str = "an object") -> dict[str, object]:
    """Return the object on a line, or raise `InputError`; `expected` describes it."""
    if line.startswith(_UTF_16):
        raise InputError("is UTF-16. Hint: save the file as UTF-8.")
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise InputError(
            f"is not UTF-8 at byte {error.start}. Hint: save the file as UTF-8."
        ) from None
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON: {error.msg} at column {error.colno}.") from None
    except (ValueError, RecursionError):
        raise InputError(
            "is JSON that cannot be read: a number with too many digits, or nested too deep."
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"has to be {expected}, got {kind(value)}.")
    return value


def string(value: Mapping[str, object], name: str, *, blank: bool = False) -> str:
    """Return a string of an object, or raise `InputError`; with `blank` it may be empty."""
    if name not in value:
        raise InputError(f'has no "{name}".')
    text = value[name]
    if not isinstance(text, str):
        hint = " Hint: put it in quotes." if isinstance(text, int | float) else ""
        raise InputError(f'"{name}" has to be a string, got {kind(text)}.{hint}')
    if not blank and not text.strip():
        raise InputError(f'"{name}" is empty or only whitespace.')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f'"{name}" has a lone surrogate at character {error.start}: that is not Unicode text.'
        ) from None
    return text


def check_new(key: str, number: int, seen: dict[str, int], noun: str) -> None:
    """Take the id on a line into `seen`, or raise `InputError` where an earlier line has it."""
    first = seen.setdefault(key, number)
    if first != number:
        raise InputError(
            f"its id is on line {first} already. Hint: give each {noun} its own.", key=key
        )


def kind(value: object) -> str:
    """Return what JSON calls the kind of a value."""
    return "null" if value is None else _KINDS.get(type(value), "a number")
