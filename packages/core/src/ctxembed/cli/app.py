"""The `ctxembed` application: its commands and the options that stand before them."""

import inspect
from collections.abc import Callable
from typing import Annotated

import typer

from ctxembed import __version__
from ctxembed.cli.bench.command import bench
from ctxembed.cli.cache import cache
from ctxembed.cli.command_group import Group
from ctxembed.cli.demo import demo
from ctxembed.cli.doctor import doctor
from ctxembed.cli.embed import embed
from ctxembed.cli.evaluate import evaluate
from ctxembed.cli.models import models
from ctxembed.cli.search import search
from ctxembed.cli.serve import serve
from ctxembed.cli.status import status

app = typer.Typer(
    name="ctxembed",
    cls=Group,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it with the option's value
    if wanted:
        print(f"ctxembed {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error; also after the command."),
    ] = False,
) -> None:
    """Contextual chunk embeddings: the vector of a chunk knows the other chunks of its document."""


def _help(command: Callable[..., None]) -> str:
    """Return a docstring with one line per paragraph, to be wrapped anew, and without markup."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs).replace("[", r"\[")


_LARGE = "Without --model this takes the large default model, which needs torch. "

_EXAMPLES = {
    embed: "ctxembed embed in.jsonl -o out.parquet --model minilm",
    search: 'ctxembed search "first compiler" --in out.parquet -k 3',
    serve: "ctxembed serve --model minilm --port 8080",
    bench: "ctxembed bench --model minilm",
}

for _command in (embed, status, search, serve, models, doctor, bench, evaluate, demo):
    _first = _LARGE if _command in (embed, serve, bench) else ""
    _example = f"Example: {_EXAMPLES[_command]}" if _command in _EXAMPLES else None
    app.command(help=_first + _help(_command), epilog=_example)(_command)
app.add_typer(
    cache, name="cache", help="Look into a folder of cached vectors, or make it smaller."
)
