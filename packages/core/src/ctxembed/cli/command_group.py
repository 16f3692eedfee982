"""The command group: `--debug` anywhere, and errors as one line instead of a traceback."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from ctxembed.cli.error_reports import exit_code


class Group(TyperGroup):
    """Runs a command, and turns what it raises into a line on standard error and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer varies
        """Take `--debug` as if it stood before the command, wherever it stands before `--`."""
        end = args.index("--") if "--" in args else len(args)
        if "--debug" in args[:end]:
            args = ["--debug", *(arg for arg in args[:end] if arg != "--debug"), *args[end:]]
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def invoke(self, ctx: Any) -> object:  # noqa: ANN401 - Typer varies
        """Run the command; errors that are not ours pass unchanged."""
        try:
            result: object = super().invoke(ctx)
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            code = exit_code(error, debug=bool(ctx.params.get("debug")))
            if code is None:
                raise
            raise typer.Exit(code) from None
        return result
