"""What a refusal over HTTP means: an error of ours, whether to try again, and how long to wait.

Bodies are read leniently: `{"error": {...}}`, `{"detail": [...]}`, HTML, nothing. No message
repeats what was sent. Errors of the connection are in `client`.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import inf
from typing import Any

from ctxembed.errors import (
    ApiError,
    AuthenticationError,
    DocumentTooLongError,
    EmbedError,
    RateLimitError,
)

_AGAIN = frozenset((408, 409, 429))
_LONGEST_WORDS = 300
_SIZE = r"(tokens?|context|length|input|chunks?|text|document)"
_TOO_LONG = re.compile(
    rf"too (long|large|many tokens|big)|\b{_SIZE}\b.*\b(exceed\w*|maximum|limit)"
    rf"|\b(exceed\w*|maximum|limit)\b.*\b{_SIZE}\b",
    re.IGNORECASE,
)
_NOT_LENGTH = re.compile(
    r"quota|\brate|dimension|credit|invalid model|unknown model", re.IGNORECASE
)
_REPEATED = 12
"""Length of a run of characters that shows, where the request has it too, that it was repeated."""
_TOO_LONG_STATUS = frozenset((400, 413, 422))
_LEAST_KEY = 8
"""Length from which a key is looked for in messages; a shorter one is part of ordinary words."""
_PLACE = r"(?:Document|Text) \d+(?:, chunk (?P<chunk>\d+))?"
_COUNTED = re.compile(
    rf"{_PLACE}:? has (?P<tokens>[\d,]+) tokens\b[^;]*; the maximum is (?P<limit>[\d,]+)\.$"
)
"""How a server of ours says what is too long."""


def error_of(
    status: int, headers: Mapping[str, str], content: bytes, sent: bytes = b"", key: str = ""
) -> EmbedError:
    """Return the error that an answer other than 2xx stands for.

    Its message holds neither the key nor what was `sent`.
    """
    answer, text = _words(content), sent.decode("utf-8", "replace")
    meant = _without(answer, text)
    too_long = status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (
        _TOO_LONG.search(meant) and not _NOT_LENGTH.search(meant)
    )
    if status in _TOO_LONG_STATUS and too_long and (counted := _COUNTED.match(answer)):
        return _too_long(counted)
    words = _without(answer.replace(key, "...") if len(key) >= _LEAST_KEY else answer, text)
    if too_long:
        words = re.sub(rf"^{_PLACE}:? ", "", words)
    request = headers.get("x-request-id") or headers.get("request-id")
    said = f"the server answered {status}{f': {words}' if words else ' without a reason'}"
    if status in _TOO_LONG_STATUS and too_long:
        return DocumentTooLongError(said)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AuthenticationError(
            f"{said} Hint: check the API key, and that it may use this model.",
            status_code=status,
            request_id=request,
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitError(
            f"{said} Hint: lower concurrency, or wait.",
            retry_after=retry_after(headers),
            status_code=status,
            request_id=request,
        )
    if status == HTTPStatus.NOT_FOUND:
        said += " Hint: check base_url."
    return ApiError(said, status_code=status, request_id=request)


def _too_long(counted: re.Match[str]) -> DocumentTooLongError:
    """Return the error with what our server counted; `chunk` is the position in the window sent."""
    tokens, limit = (int(counted[name].replace(",", "")) for name in ("tokens", "limit"))
    return DocumentTooLongError(
        f"has {tokens} tokens and the server reads {limit}.",
        tokens=tokens,
        limit=limit,
        chunk=None if counted["chunk"] is None else int(counted["chunk"]),
    )


def worth_repeating(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether the same request may fare better; `x-should-retry` has the last word."""
    told = headers.get("x-should-retry", "").casefold()
    if told in ("true", "false"):
        return told == "true"
    return status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, from `retry-after-ms`, seconds or a date."""
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        with suppress(KeyError, ValueError):
            seconds = float(headers[name]) / scale
            if 0 <= seconds < inf:
                return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _words(content: bytes) -> str:
    """Return the server's reason in one line, empty where there is none."""
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    error = body.get("error", body.get("detail", body.get("message")))
    if isinstance(error, dict):
        error = error.get("message")
    if isinstance(error, list):
        error = "; ".join(_detail(item) for item in error)
    if not isinstance(error, str) or not error:
        return ""
    words = " ".join(error.split())[:_LONGEST_WORDS]
    return words if words.endswith(".") else f"{words}."


def _without(words: str, sent: str) -> str:
    """Return the words with "..." for what they repeat of the request.

    That is a run of 12 characters that the request has too, and anything in quotes that it has.
    Words with escaped letters are left out whole.
    """
    if "\\u" in words or "\\x" in words:
        return ""
    plain = " ".join(re.sub(r"\\[nrt]", " ", sent).split())
    words = " ".join(re.sub(r"\\[nrt]", " ", words).split())
    hidden: set[int] = set()
    for start in range(len(words) - _REPEATED + 1):
        if words[start : start + _REPEATED] in plain:
            hidden.update(range(start, start + _REPEATED))
    for quoted in re.finditer(r"(['\"`])(.+?)\1", words):
        if quoted[2] in plain:
            hidden.update(range(quoted.start(2), quoted.end(2)))
    shown = "".join("\0" if n in hidden else letter for n, letter in enumerate(words))
    return re.sub("\0+", "...", shown)


def _detail(item: object) -> str:
    """Return place and message of a schema error, without the `input` that some servers repeat."""
    if not isinstance(item, dict):
        return ""
    loc = item.get("loc")
    parts = loc if isinstance(loc, list) else []
    place = ".".join(str(part) for part in parts if isinstance(part, str | int))
    return f"{place}: {item.get('msg', 'is wrong')}"
