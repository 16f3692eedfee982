"""Measurements in processes of their own, so that none has another's memory, threads or caches.

The environment of another engine does not have this project: its source is on the path of each
process, and what is imported of it there needs numpy only.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent / "packages" / "core" / "src"
LIMIT = 900
"""Seconds after which a measurement is given up."""


def run(module: str, *arguments: object, python: str = sys.executable) -> dict:
    """Run a module of this folder and return the JSON of its last line, or why there is none."""
    print(f"{module} {' '.join(map(str, arguments))}", file=sys.stderr, flush=True)
    if not Path(python).is_file():
        return {"failed": f"its environment is not there: {python}"}
    try:
        done = subprocess.run(
            [python, "-m", module, *map(str, arguments)],
            cwd=HERE,
            env=os.environ | {"PYTHONPATH": str(SOURCE)} | _preloaded(python),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"took more than {LIMIT} s"}
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    if done.returncode == -signal.SIGKILL:
        return {"failed": "killed by the system, most likely for want of memory"}
    told = (done.stderr.strip() or "nothing was printed").splitlines()[-1][:200]
    return {"failed": f"ended with status {done.returncode}: {told}"}


def _preloaded(python: str) -> dict[str, str]:
    """Return what an environment wants preloaded: vLLM's brings Intel's OpenMP, and asks for it."""
    library = Path(python).parents[1] / "lib" / "libiomp5.so"
    return {"LD_PRELOAD": str(library)} if library.is_file() else {}
