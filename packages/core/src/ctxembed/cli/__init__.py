"""The command line: `ctxembed embed`, `status`, `search`, `serve`, `evaluate` and others.

`main` is all that is here. It works without the libraries of the `cli` extra, so that a missing
one is one line and no traceback.
"""

import signal
import sys
import traceback
from types import FrameType

from ctxembed.cli.error_reports import STOPPED, missing_extra


def main() -> None:
    """Run `ctxembed` with the arguments of this process, and exit."""
    signal.signal(signal.SIGTERM, _terminated)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _hung_up)  # nohup has it ignored
    try:
        from ctxembed.cli.app import app

        app(prog_name="ctxembed")
    except ModuleNotFoundError as error:
        line = missing_extra(error)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(STOPPED)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # noqa: BLE001 - exit code 1 would say that the rest was written
        traceback.print_exc()
        print("error: this is a mistake in ctxembed, please report it", file=sys.stderr)
        sys.exit(STOPPED)


def _terminated(number: int, _: FrameType | None) -> None:
    """Leave through the `finally` blocks, which remove unfinished files."""
    sys.exit(128 + number)


def _hung_up(number: int, frame: FrameType | None) -> None:
    """Do what SIGTERM would do now: a server finishes what is under way."""
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler):
        handler(number, frame)
