"""The report in a real browser: Chromium, where the system has it (`apt-get install chromium`).

The report forbids every script, so a page around it looks into it, in a frame of each width.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("ir_measures")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.evaluation import Collection, Document, Query, compare, report
from ctxembed.evaluation.experiment import embed_runs
from ctxembed.testing import FakeBackend

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="this system has no Chromium"),
]

AROUND = """<!doctype html><html><body><script>
const found = [], frames = [];
onerror = message => found.push({ error: message });
for (const width of [400, 1200]) {
  const frame = document.createElement("iframe");
  frame.src = "report.html";
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  document.body.append(frame);
  frame.onload = () => {
    const inside = frame.contentWindow, page = inside.document;
    found.push({
      width: page.documentElement.scrollWidth,
      shown: width,
      paper: inside.getComputedStyle(page.body).backgroundColor,
      requests: inside.performance.getEntriesByType("resource").map(each => each.name),
      plots: [...page.querySelectorAll("svg")].map(
        each => each.getBoundingClientRect().height > 99),
      hint: inside.getComputedStyle(page.querySelector(".narrow")).display,
      scrolled: [...page.querySelectorAll(".wide")].map(
        each => [each.scrollWidth > each.clientWidth, inside.getComputedStyle(each).overflowX]),
    });
    if (found.length == 2) document.body.textContent = JSON.stringify(found);
  };
}
</script></body></html>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the report of a sweep, and the page around it."""
    folder = tmp_path_factory.mktemp("report")
    texts = [f"<script>alert({n})</script>\n\n" + f"word{n} and " * 40 for n in range(6)]
    collection = Collection(
        name="pages",
        source="made here",
        documents=tuple(Document(f"d{n}", "", text) for n, text in enumerate(texts)),
        queries=tuple(Query(f"q{n}", f"word{n}", {f"d{n}": ((0, 99),)}) for n in range(6)),
    )
    spec = ModelSpec(name="fake", dimensions=16, max_tokens=1000)
    vary = {"encoding": ["int8", "ubinary"], "dimensions": [8, 16], "search": ["two_stage"]}
    with Embedder(FakeBackend(spec), Settings(model="fake")) as embedder:
        runs = embed_runs(collection, embedder, 20, vary, lambda *_: None)
    report(compare(runs, provenance=(("a long value", "x" * 300),)), folder / "report.html")
    (folder / "around.html").write_text(AROUND, encoding="utf-8")
    return folder


@pytest.mark.parametrize(("scheme", "light"), [(1, True), (0, False)])
def test_the_report_opens_at_both_widths_without_errors_and_requests(folder, scheme, light):
    """Nothing is wider than the page but tables, which scroll; the narrow page says so."""
    call = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
            *(f"--blink-settings=preferredColorScheme={scheme}", "--enable-logging=stderr"),
            *("--virtual-time-budget=20000", f"--user-data-dir={folder / 'profile'}"),
            *("--dump-dom", (folder / "around.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    narrow, wide = sorted(
        json.loads(re.search(r"\[\{.*\}\]", call.stdout)[0]), key=lambda each: each["shown"]
    )

    assert "CONSOLE" not in call.stderr
    for each in (narrow, wide):
        assert each["width"] <= each["shown"]
        assert [] == each["requests"]
        assert [True] * 3 == each["plots"]
        assert (int(re.findall(r"\d+", each["paper"])[0]) > 128) == light
        assert {"auto"} == {overflow for _, overflow in each["scrolled"]}
    assert ("block", "none") == (narrow["hint"], wide["hint"])
    assert [True, True] == [scrolled for scrolled, _ in narrow["scrolled"]]
