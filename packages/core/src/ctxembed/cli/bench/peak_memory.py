"""The peak memory of this process: the most that it ever held."""

import re
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory(status: Path = _STATUS) -> int | None:
    """Return the most bytes of memory that this process held at once, None where it is not known.

    This is not `ru_maxrss`, which starts at the size of the parent process.
    """
    try:
        text = status.read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
