"""Every Python block of the README and the documentation runs and prints what it claims."""

from pathlib import Path

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).parents[2]
PAGES = [path for path in (ROOT / "README.md", ROOT / "docs") if path.exists()]


@pytest.mark.parametrize("example", list(find_examples(*PAGES)), ids=str)
def test_example(example: CodeExample, eval_example: EvalExample) -> None:
    eval_example.run_print_check(example)
