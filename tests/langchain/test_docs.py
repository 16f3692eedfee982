"""Every Python block of this adapter's pages runs and prints what it claims."""

from itertools import groupby
from pathlib import Path

import pytest

pytest.importorskip("pytest_examples", reason="belongs to nox -s docs")
pytest.importorskip("langchain_chroma", reason="belongs to nox -s docs")
pytest.importorskip("langchain_qdrant", reason="belongs to nox -s docs")

from pytest_examples import find_examples

ROOT = Path(__file__).parents[2]
SOURCES = (ROOT / "packages/langchain/README.md", ROOT / "docs/langchain.md")
PAGES = {
    path.name: list(blocks) for path, blocks in groupby(find_examples(*SOURCES), lambda b: b.path)
}


@pytest.mark.parametrize("page", PAGES)
def test_page_reads_as_one_session(page, eval_example):
    names = {}
    for block in PAGES[page]:
        names |= eval_example.run_print_check(block, module_globals=names)
