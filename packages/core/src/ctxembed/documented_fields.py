"""Fields of a dataclass that carry their documentation and limits: `setting` and `check`.

Which settings there are, and checks of one setting against another, are the business of `settings`.
"""

from collections.abc import Sequence
from dataclasses import Field, field
from math import inf, nan
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

from ctxembed.errors import ConfigurationError

Panel = Literal["Model", "Vectors", "Context", "Bad input", "Cache", "API"]
"""A heading of the command line's help."""

T = TypeVar("T")


def setting(
    default: T,
    panel: Panel,
    text: str,
    *,
    least: int = 1,
    only: Literal["local", "api"] | None = None,
    in_vectors: bool = True,
) -> T:
    """Return a field with its documentation.

    Args:
        default: Its default.
        panel: Where the command line's help shows it.
        text: What it does. The command line, the adapters and `docs/settings.md` show this text.
        least: The smallest whole number that it takes.
        only: The kind of backend that reads it; None where all of them do.
        in_vectors: Whether it changes vectors, and with them the fingerprint.
    """
    about = {"panel": panel, "text": text, "least": least, "only": only, "in_vectors": in_vectors}
    return field(default=default, metadata=about)


def choices_or_types(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a type, or a union of them
    """Return the types of a union, with the values of a `Literal` in its place."""
    parts = (kind,) if get_origin(kind) is Literal else get_args(kind) or (kind,)
    return tuple(
        each
        for part in parts
        for each in (get_args(part) if get_origin(part) is Literal else (part,))
    )


def check(field: Field[Any], value: object) -> None:
    """Refuse a value that does not fit its field's type, or a whole number below its least one.

    Fractions are left to `check_weight`, and to the class that has them.

    Raises:
        ConfigurationError: It names the field and says what it takes.
    """
    kinds = choices_or_types(field.type)
    if value is None and NoneType in kinds:
        return
    if str in kinds:
        _check_text(field.name, value)
    elif int in kinds:
        _check_whole(field.name, value, field.metadata["least"])
    elif bool in kinds:
        if not isinstance(value, bool):
            raise ConfigurationError(f"{field.name} is True or False, got {value!r}.")
    elif float not in kinds:
        _check_choice(field.name, value, [each for each in kinds if isinstance(each, str)])


def check_weight(name: str, weight: float | None, most: float) -> float | None:
    """Return a weight from 0 to `most` as a float: 1 and 1.0 are one setting, 0 and -0.0 too."""
    if weight is None:
        return None
    try:
        number = nan if isinstance(weight, str | bytes | bool) else float(weight)
    except (TypeError, ValueError, OverflowError):
        number = nan
    if not (0 <= number <= most and number < inf):
        upper = f"to {most}" if most < inf else "up"
        raise ConfigurationError(f"{name} is a number from 0 {upper}, got {weight!r}.")
    return abs(number)


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value in choices:
        return
    if name == "dtype" and value in ("float16", "half"):
        raise ConfigurationError(
            'float16 gives NaN with these models. Hint: dtype="bfloat16" or "float32".'
        )
    raise ConfigurationError(f"{name} is one of {', '.join(map(repr, choices))}, got {value!r}.")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        hint = " Hint: str(path) for a directory." if name in ("model", "cache") else ""
        raise ConfigurationError(f"{name} is text, got {type(value).__name__}.{hint}")
    if name == "model":
        return  # it may be a directory whose name is no valid text
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} has a lone surrogate: that is not text.") from None


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} is a whole number from {least} up, got {value!r}.")
