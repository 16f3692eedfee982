"""Which model ids the server answers on each route.

A checkpoint of a model that the hosted API offers answers its own ids only: a 0.6b never answers
for a 4b. Any other checkpoint answers all four official ids, for clients that send no others, and
its own name if the table of models has it.
"""

from collections.abc import Iterable
from http import HTTPStatus

from starlette.exceptions import HTTPException

from ctxembed.errors import ConfigurationError
from ctxembed.models import MODELS, ModelSpec, find_model
from ctxembed.wire import CONTEXTUAL_PATH, INDEPENDENT_PATH

OFFICIAL = tuple(spec for spec in MODELS if spec.price is not None)


def official_model(spec: ModelSpec) -> ModelSpec | None:
    """Return the official model that `spec` is, by its name or else by its configuration."""
    named = find_model(spec.name)
    if named is not None:
        return named if named in OFFICIAL else None
    return next(
        (known for known in OFFICIAL if _configuration(known) == _configuration(spec)), None
    )


def _configuration(spec: ModelSpec) -> tuple[object, ...]:
    return spec.dimensions, spec.contextual, spec.quantizer, spec.separator


def model_names(
    spec: ModelSpec, context_weight: float, aliases: Iterable[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return the ids that a model answers on each route, in the order in which they are listed.

    A model without context answers nothing on the contextual route.
    """
    official = official_model(spec)
    contextual = context_weight > 0 if official is None else official.contextual
    independent = official is None or not official.contextual
    specs = OFFICIAL if official is None else (official,)
    own = (spec.name,) if official is None and find_model(spec.name) else ()
    for alias in aliases:
        meant = find_model(alias)
        if meant is not None and meant not in (*specs, find_model(spec.name)):
            raise ConfigurationError(
                f"the alias {alias!r} is {meant.name}, and another model would answer for it. "
                "Hint: choose a name that no known model has."
            )
    more = (*own, *aliases)

    def ids(*, contextual: bool) -> tuple[str, ...]:
        found = [each for each in specs if each.contextual == contextual]
        return (*(name for each in found for name in (*each.aliases, each.name)), *more)

    return {
        CONTEXTUAL_PATH: ids(contextual=True) if contextual else (),
        INDEPENDENT_PATH: ids(contextual=False) if independent else (),
    }


def routes_by_name(names: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Return the routes that answer each id."""
    every = dict.fromkeys(name for ids in names.values() for name in ids)
    return {name: [route for route, ids in names.items() if name in ids] for name in every}


def check_aliases(aliases: Iterable[str]) -> None:
    """Raise `ConfigurationError` if an additional id is empty, or no client could send it."""
    for alias in aliases:
        if not alias.strip():
            raise ConfigurationError("an alias is empty. Hint: leave it out, or name a model id.")
        if alias != alias.strip() or not alias.isprintable():
            raise ConfigurationError(
                f"the alias {alias!r} has blanks around it or characters that cannot be printed. "
                "Hint: leave them out."
            )


def check_model(names: dict[str, tuple[str, ...]], model: str, route: str) -> None:
    """Raise a 400 for an id that the route does not answer, naming the ids or the route that do."""
    if model in names[route]:
        return
    other = INDEPENDENT_PATH if route == CONTEXTUAL_PATH else CONTEXTUAL_PATH
    if model in names[other] or not names[route]:
        message = f"This server's model is for {other}, not for {route}."
    else:
        message = f"Invalid model: this server answers {', '.join(names[route])} here."
    raise HTTPException(HTTPStatus.BAD_REQUEST, message)
