"""Every Python block of the README and the documentation runs and prints what it claims."""

from itertools import groupby
from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "README.md", ROOT / "docs", *sorted(ROOT.glob("packages/*/README.md"))]
BLOCKS = (
    block
    for block in find_examples(*SOURCES)
    if "engine" not in block.prefix_settings()  # those run in tests/bulk, where the engine is
)
PAGES = {
    str(path.relative_to(ROOT)): list(blocks)
    for path, blocks in groupby(BLOCKS, lambda block: block.path)
}


@pytest.mark.parametrize("page", PAGES)
def test_page_reads_as_one_session(page: str, eval_example: EvalExample) -> None:
    names: dict[str, object] = {}
    for block in PAGES[page]:
        if problem := run(block, eval_example, names):
            pytest.fail(problem, pytrace=False)


def run(block: CodeExample, eval_example: EvalExample, names: dict[str, object]) -> str:
    """Run a block with the names of those before it, add its own, and return what went wrong."""
    try:
        names |= eval_example.run_print_check(block, module_globals=names)
    # Not left to pytest: version 9.2 stumbles over the traceback that pytest-examples 0.0.18
    # draws into a block, even where it is only the context of another exception.
    except Exception as error:  # noqa: BLE001
        return f"{block} raised {error!r}"
    return ""
