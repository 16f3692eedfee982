"""One command-line option for every field of `Settings`: `with_settings`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from functools import partial
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from ctxembed.settings import Settings

HELP: dict[str, tuple[str, str]] = {
    "model": ("Model", "Hub id, directory, or a name from `ctxembed models`."),
    "backend": (
        "Model",
        "What runs the model; auto goes by the kind of weights, api needs PERPLEXITY_API_KEY.",
    ),
    "revision": ("Model", "Branch, tag or commit of a hub id."),
    "device": ("Model", "cpu, cuda, cuda:1, ..., cuda:* for all; without it a GPU if there is."),
    "dtype": (
        "Model",
        "auto is float32 on a CPU and bfloat16 on a GPU; int8 approximates, on a CPU.",
    ),
    "pooling": ("Model", "mean insists on mean pooling for a checkpoint that says otherwise."),
    "encoding": ("Vectors", "How a vector is stored; ubinary is packed bits."),
    "dimensions": ("Vectors", "Keep the first so many; without it all."),
    "normalize": ("Vectors", "float32 vectors of length 1, from int8 or float."),
    "window_tokens": ("Context", "Tokens that go through the model together."),
    "overlap_tokens": ("Context", "Tokens that neighbouring windows of a long document share."),
    "context_weight": (
        "Context",
        "1 takes the contextual vector, 0 the independent one, between mixes them.",
    ),
    "query_prefix": ("Context", "Put before every query; without it the model's own."),
    "document_prefix": (
        "Context",
        "Put before every window of a document; without it the model's own.",
    ),
    "long_chunks": (
        "Bad input",
        "A chunk beyond the model's limit is an error, or cut and pooled.",
    ),
    "empty": (
        "Bad input",
        "A chunk without text is an error, or a zero vector (not for ubinary).",
    ),
    "batch_tokens": (
        "Model",
        "Tokens in one model call or request; without it the backend chooses.",
    ),
    "base_url": ("API", "Where the API is; without it PERPLEXITY_BASE_URL, or the vendor's."),
    "timeout": ("API", "Seconds for one attempt of a request; without it 60."),
    "max_retries": ("API", "Attempts after the first one; without it 8."),
    "concurrency": ("API", "Requests under way at once, at the most; without it 16."),
    "tokenizer": ("API", "Folder with the model's tokenizer.json, to count tokens exactly."),
}
"""Panel and help of each setting."""


Command = Callable[..., None]


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Give a command an option for each of these settings, without names for all.

    The command's first argument is the `Settings`.
    """
    return partial(_with, _parameters(names or tuple(HELP)))


def _with(added: list[inspect.Parameter], command: Command) -> Command:
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    def call(**given: Any) -> None:
        values = {each.name: given.pop(each.name) for each in added}
        command(Settings(**values), **given)

    signature = inspect.Signature([*own, *added])
    call.__name__ = command.__name__
    call.__doc__ = command.__doc__
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in [*own, *added]}
    return call


def _parameters(names: Sequence[str]) -> list[inspect.Parameter]:
    hints = get_type_hints(Settings)
    by_name = {field.name: field for field in fields(Settings)}
    return [_parameter(by_name[name], hints[name]) for name in names]


def _parameter(field: Field[Any], hint: object) -> inspect.Parameter:
    panel, text = HELP[field.name]
    metavar = None
    if get_origin(hint) is Literal:
        # Settings refuses other values with a hint of its own
        hint, metavar = str, "|".join(get_args(hint))
    option = typer.Option(help=text, metavar=metavar, rich_help_panel=panel)
    if field.default is MISSING:
        raise TypeError(field.name)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[hint, option],
    )
