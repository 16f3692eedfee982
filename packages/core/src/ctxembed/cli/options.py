"""One command-line option for every field of `Settings`: `with_settings`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from functools import partial
from typing import Annotated, Any

import typer

from ctxembed.documented_fields import choices_or_types
from ctxembed.settings import Settings

Command = Callable[..., None]


def with_settings(*names: str, **defaults: object) -> Callable[[Command], Command]:
    """Give a command an option for each of these settings, without names for all of them.

    The command's first argument is the `Settings`. `defaults` replace the defaults of settings.
    """
    known = {each.name: each for each in fields(Settings)}
    return partial(_with, [_option(known[name], defaults) for name in names or known])


def _with(options: list[inspect.Parameter], command: Command) -> Command:
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    def call(**given: Any) -> None:
        values = {option.name: given.pop(option.name, option.default) for option in options}
        command(Settings(**values), **given)

    signature = inspect.Signature([*own, *options])
    call.__name__ = command.__name__
    call.__doc__ = command.__doc__
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in [*own, *options]}
    return call


def _option(setting: Field[Any], defaults: Mapping[str, object]) -> inspect.Parameter:
    kind, text, metavar = setting.type, setting.metadata["text"], None
    choices = [each for each in choices_or_types(kind) if isinstance(each, str)]
    if choices:
        # Settings refuses other values with a hint of its own. The choices are part of the text,
        # because in the column of types they would leave no room for the default model's name.
        text = f"{text} Choices: {', '.join(choices)}."
        kind, metavar = str | None if setting.default is None else str, "<choice>"
    option = typer.Option(help=text, metavar=metavar, rich_help_panel=setting.metadata["panel"])
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=defaults.get(setting.name, setting.default),
        annotation=Annotated[kind, option],
    )
