"""Which model ids a server answers, and on which route.

A checkpoint of the table answers its own ids only: a 0.6b never poses as a 4b. Any other answers the
four official ids, so that clients that know no others can use it, and its own
name where the table has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from ctxembed.errors import ConfigurationError
from ctxembed.models import MODELS, ModelSpec, find_model
from ctxembed.server.error_responses import Refusal
from ctxembed.wire import CONTEXTUAL_PATH, INDEPENDENT_PATH

OFFICIAL = tuple(spec for spec in MODELS if spec.price is not None)


@dataclass(frozen=True, slots=True)
class Names:
    """Ids by route, in the order in which they are listed."""

    contextualized: tuple[str, ...]
    embeddings: tuple[str, ...]

    def at(self, route: str) -> tuple[str, ...]:
        """Return the ids that a route answers."""
        return self.contextualized if route == CONTEXTUAL_PATH else self.embeddings

    def routes(self) -> dict[str, list[str]]:
        """Return the routes of every id."""
        routes: dict[str, list[str]] = {}
        for route in (CONTEXTUAL_PATH, INDEPENDENT_PATH):
            for name in self.at(route):
                routes.setdefault(name, []).append(route)
        return routes


def recognise(spec: ModelSpec) -> ModelSpec | None:
    """Return the official model that this is: by name, or by the facts of its configuration."""
    named = find_model(spec.name)
    if named is not None:
        return named if named in OFFICIAL else None
    facts = (spec.dimensions, spec.contextual, spec.quantizer, spec.separator)
    for known in OFFICIAL:
        if facts == (known.dimensions, known.contextual, known.quantizer, known.separator):
            return known
    return None


def names_for(spec: ModelSpec, context_weight: float, aliases: Iterable[str] = ()) -> Names:
    """Return the ids that a model answers; one that gives no context answers no contextual route."""
    known = recognise(spec)
    added = tuple(aliases)

    def ids(*, contextual: bool) -> tuple[str, ...]:
        specs = OFFICIAL if known is None else (known,)
        found = [each for each in specs if each.contextual == contextual]
        own = (spec.name,) if known is None and find_model(spec.name) else ()
        return (*(i for each in found for i in (*each.aliases, each.name)), *own, *added)

    if known is not None:
        mine = ids(contextual=known.contextual)
        return Names(mine, ()) if known.contextual else Names((), mine)
    return Names(ids(contextual=True) if context_weight > 0 else (), ids(contextual=False))


def checked_aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    """Return the ids to answer besides, or raise `ConfigurationError` for one that is empty."""
    added = tuple(aliases)
    if not all(alias.strip() for alias in added):
        raise ConfigurationError("an alias is empty. Hint: leave it out, or name a model id.")
    return added


def check_name(names: Names, model: str, route: str) -> None:
    """Refuse an id that the route doesn't answer, and say which ids or which route would."""
    if model in names.at(route):
        return
    other = INDEPENDENT_PATH if route == CONTEXTUAL_PATH else CONTEXTUAL_PATH
    if model in names.at(other) or not names.at(route):
        message = f"This server's model is for {other}, not for {route}."
    else:
        message = f"Invalid model: this server answers {', '.join(names.at(route))} here."
    raise Refusal(HTTPStatus.BAD_REQUEST, message)
