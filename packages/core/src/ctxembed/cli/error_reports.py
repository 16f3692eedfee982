"""Reports of errors: one line on standard error, and an exit code.

This has to work when no library of an extra is installed.
"""

import os
import re
import sys
import traceback
from dataclasses import fields

from ctxembed.cli.extras import extra_with
from ctxembed.errors import EmbedError, MissingDependencyError
from ctxembed.settings import Settings

SOME_SKIPPED = 1
STOPPED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

_SETTING = re.compile(
    rf"\b({'|'.join(each.name for each in fields(Settings))})="
    r'("[^"\s]+"(?: or "[^"\s]+")*|\d+(?:\.\d+)?)'
)
"""A setting as it is written in Python: `encoding="int8" or "float"`, `context_weight=1`."""


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return what to install for a missing library, None where it belongs to no extra."""
    name = (error.name or "").partition(".")[0]
    extra = extra_with(name)
    if extra is None:
        return None
    return (
        f"this needs {name}, which is not installed. Run: "
        f'python -m pip install "ctxembed[{extra}]"'
    )


def as_options(message: str) -> str:
    """Return a message whose hint names settings as options of the command line.

    >>> as_options('is empty. Hint: drop it, or set empty="zero".')
    'is empty. Hint: drop it, or set --empty zero.'
    """
    rest, hint, advice = message.rpartition("Hint: ")
    return rest + hint + _SETTING.sub(_option, advice) if hint else message


def _option(found: re.Match[str]) -> str:
    return f"--{found[1].replace('_', '-')} {found[2].replace(chr(34), '')}"


def exit_code(error: BaseException, *, debug: bool) -> int | None:
    """Report an error that a user can act on and return the exit code; None for any other error."""
    if isinstance(error, BrokenPipeError):
        _discard_stdout()
        return BROKEN_PIPE
    if isinstance(error, KeyboardInterrupt):
        line, code = "stopped", INTERRUPTED
    else:
        known = _line(error)
        if known is None:
            return None
        line, code = f"error: {known}", STOPPED
        if error.__cause__ and not debug and not isinstance(error, MissingDependencyError):
            line += " (--debug shows the cause)"
    if debug:
        traceback.print_exception(error)
    print(line, file=sys.stderr)
    return code


def _line(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, EmbedError):
        return missing_extra(error)
    if isinstance(error, EmbedError):
        return as_options(" ".join(str(error).split()))
    if isinstance(error, OSError):
        named = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return f"{named}{error.strerror or error}"
    return None


def _discard_stdout() -> None:
    """Point standard output at the null device, so that Python's last flush is quiet too."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
