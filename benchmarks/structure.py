"""How large the code is, and how long one chunk's way through it: statements and functions.

    python benchmarks/structure.py            both, as a table
    python benchmarks/structure.py --names    and the name of every function on the way

Statements are counted by `ast`, docstrings left out. The way is traced: one chunk is added to a
`ContextualVectorStore` over LangChain's in-memory store, with the `minilm` model open already, and
every function of ours that is entered until the call returns counts once, in any thread.
"""

import argparse
import ast
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

PACKAGES = Path(__file__).parents[1] / "packages"
OURS = tuple(str(PACKAGES / name / "src") for name in ("core", "langchain"))
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def statements(path: Path) -> int:
    """Return how many statements a file has, without its docstrings."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    documented = (node for node in nodes if isinstance(node, DOCUMENTED))
    docstrings = sum(ast.get_docstring(node, clean=False) is not None for node in documented)
    return sum(isinstance(node, ast.stmt) for node in nodes) - docstrings


def statements_by_package() -> Counter[str]:
    """Return the statements of each package."""
    found: Counter[str] = Counter()
    for path in sorted(PACKAGES.glob("*/src/**/*.py")):
        found[path.relative_to(PACKAGES).parts[0]] += statements(path)
    return found


def functions_on_the_way() -> list[str]:
    """Return the names of our functions that one chunk passes on its way into a store and back."""
    from langchain_core.documents import Document
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_ctxembed import ContextualEmbeddings, ContextualVectorStore, stamp_context

    embeddings = ContextualEmbeddings(model="minilm")
    store = ContextualVectorStore(InMemoryVectorStore(embeddings))
    chunks = stamp_context([Document(page_content="Ropes are made here.")], source_id="a")
    store.add_documents(stamp_context([Document(page_content="Opens it.")], source_id="b"))
    entered: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and code.co_name[0] != "<":
            entered[code] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        store.add_documents(chunks)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    embeddings.close()
    return [f"{Path(code.co_filename).stem}.{code.co_qualname}" for code in entered]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--names", action="store_true", help="name every function on the way")
    options = parser.parse_args()
    by_package = statements_by_package()
    for package, count in by_package.items():
        print(f"{package:<12}{count:>6} statements")
    print(f"{'all':<12}{by_package.total():>6} statements")
    names = functions_on_the_way()
    print(f"{'add_documents':<13}{len(names):>5} functions on the way of one chunk")
    if options.names:
        print(*names, sep="\n")


if __name__ == "__main__":
    main()
