"""CONTRIBUTING.md names every session of the noxfile, and no other."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def sessions():
    """Return the names of the functions that nox runs: the one given to it, else their own."""
    for node in ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8")).body:
        for decorator in getattr(node, "decorator_list", []):
            text = ast.unparse(decorator)
            if text.startswith("nox.session"):
                named = re.search(r"name='([^']+)'", text)
                yield named[1] if named else node.name


def test_every_session_is_described():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.partition("|")[2].partition("|")[0] for line in text.splitlines() if "|" in line]
    described = re.findall(r"nox -s ([\w-]+)`", "\n".join(rows))

    assert sorted(described) == sorted(sessions())
