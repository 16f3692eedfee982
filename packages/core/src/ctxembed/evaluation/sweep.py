"""Sweeps: every combination of the values that some settings are to have, as `Variant`s."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

from ctxembed.errors import ConfigurationError
from ctxembed.evaluation.shared_vectors import Search
from ctxembed.models import ModelSpec
from ctxembed.settings import Settings
from ctxembed.windows import layout_for

_WHOLE = ("chunk_tokens", "window_tokens", "overlap_tokens", "dimensions")
_FRACTIONS = ("context_weight", "neighbour_weight")
VARIED = (*_WHOLE, *_FRACTIONS, "encoding", "search")
"""What can be varied: the size of chunks, settings that need no other model, and the search."""

Varied = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One setting of a sweep."""

    settings: Settings
    chunk_tokens: int
    search: Search = "nearest"

    def resolved(self, spec: ModelSpec) -> dict[str, object]:
        """Return what decides vectors and cost, by name; None where it makes no difference."""
        layout = layout_for(self.settings, spec)
        context = layout.context_weight > 0
        return {
            "chunk_tokens": self.chunk_tokens,
            "window_tokens": layout.window_tokens if context else None,
            "overlap_tokens": layout.overlap_tokens if context else None,
            "context_weight": layout.context_weight,
            "neighbour_weight": layout.neighbour_weight,
            "encoding": self.settings.encoding,
            "dimensions": self.settings.dimensions or spec.dimensions,
            "search": self.search,
        }


def variants(base: Variant, vary: Varied) -> list[Variant]:
    """Return every combination of the values; what is not varied stays as it is.

    Raises:
        ConfigurationError: a name cannot be varied, or a value does not fit its setting.
    """
    for name in vary:
        if name not in VARIED:
            raise ConfigurationError(
                f"{name!r} cannot be varied. Hint: these can: {', '.join(VARIED)}."
            )
    for name in set(vary.get("search", ())) - set(get_args(Search)):
        raise ConfigurationError(f"search is 'nearest' or 'two_stage', got {name!r}.")
    found = []
    for values in product(*vary.values()):
        given = dict(zip(vary, values, strict=True))
        size = given.pop("chunk_tokens", base.chunk_tokens)
        search = given.pop("search", base.search)
        found.append(Variant(replace(base.settings, **given), size, search))
    return found


def parse_vary(options: Iterable[str]) -> dict[str, list[Any]]:
    """Return the values of options `name=value,value`.

    >>> parse_vary(["chunk_tokens=64,128", "encoding=int8"])
    {'chunk_tokens': [64, 128], 'encoding': ['int8']}

    Raises:
        ConfigurationError: an option is no such list, or a value is no number where one is needed.
    """
    found: dict[str, list[Any]] = {}
    for option in options:
        name, equals, values = option.partition("=")
        name = name.strip().replace("-", "_")
        parts = [part.strip() for part in values.split(",")]
        if not equals or not all(parts):
            raise ConfigurationError(
                f"--vary takes NAME=VALUE,VALUE, got {option!r}. Hint: --vary chunk_tokens=64,128."
            )
        kind = int if name in _WHOLE else float if name in _FRACTIONS else str
        try:
            found[name] = [kind(part) for part in parts]
        except ValueError:
            raise ConfigurationError(f"--vary {name} takes numbers, got {values!r}.") from None
    return found
