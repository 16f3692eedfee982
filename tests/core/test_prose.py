"""What the documents draw of the code is true: the map of modules, the tree of errors."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import ctxembed
from ctxembed import errors

ROOT = Path(__file__).parents[2]
CORE = ROOT / "packages" / "core" / "src" / "ctxembed"
BRANCH = re.compile(
    r"^(?P<indent>[| ]*)(?:\+- )?(?P<name>\w+Error)(?: \((?P<other>\w+)\))?(?:\s|$)"
)


def rows_of_the_map():
    """Return the rows of ARCHITECTURE's map: the names in the first cell of each."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("| module of `ctxembed` |")[2].partition("\n\n")[0]
    return [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()[2:]]


def test_the_map_has_every_module_once():
    tree = {path.stem for path in CORE.iterdir() if path.suffix in ("", ".py")}
    tree -= {"__init__", "__pycache__"}
    named = [name for row in rows_of_the_map() for name in row]

    assert sorted(named) == sorted(tree)


def test_the_map_is_in_the_order_that_is_checked():
    """A row of the map may hold several layers of the contract, and no layer twice."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = told["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    height = {
        name: place
        for place, layer in enumerate(reversed(layers))
        for name in re.findall(r"\w+", layer)
    }
    heights = [sorted(height[name] for name in row) for row in rows_of_the_map()]

    assert set(height) == {name for row in rows_of_the_map() for name in row}
    for below, above in pairwise(heights):
        assert below[-1] <= above[0], f"{below} stands before {above}"


def drawn(text):
    """Return what a drawn tree says: for each error its parent, and its other base class."""
    found, path = {}, {}
    for line in text.splitlines():
        if match := BRANCH.match(line):
            depth = len(match["indent"]) // 3 + ("+-" in line)
            path[depth] = match["name"]
            found[match["name"]] = (path.get(depth - 1) if depth else None, match["other"])
    return found


def classes():
    """Return the same of the classes themselves."""
    public = {name: getattr(errors, name) for name in ctxembed.__all__ if name.endswith("Error")}
    found = {}
    for name, cls in public.items():
        mine = [base.__name__ for base in cls.__bases__ if issubclass(base, errors.EmbedError)]
        others = [
            base.__name__ for base in cls.__bases__ if not issubclass(base, errors.EmbedError)
        ]
        found[name] = (mine[0] if mine else None, (others or [None])[0] if mine else None)
    return found


def test_the_tree_of_errors_is_drawn_as_it_is():
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").split("```")[1]

    assert drawn(errors.__doc__.replace("\n    ", "\n")) == classes()
    assert drawn(page) == classes()


def test_decisions_are_numbered_without_gaps():
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))

    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]


def test_files_that_the_architecture_names_are_there():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)`", text))

    assert named
    missing = [
        name for name in named if not (CORE / name).is_file() and not (ROOT / name).is_file()
    ]
    assert not missing
