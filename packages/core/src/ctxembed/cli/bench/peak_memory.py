"""The most memory that this process ever held."""

from __future__ import annotations

import re
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory(status: Path = _STATUS) -> int | None:
    """Return the most bytes of memory that this process held at once, None where nobody tells.

    Not `ru_maxrss`: that one starts at the size of the parent.
    """
    try:
        text = status.read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
