"""The run and its two outputs, on a fake model: what goes in, what is shown, what is refused."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("ir_measures")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("rich")
pytest.importorskip("semantic_text_splitter")

from rich.console import Console
from typer.testing import CliRunner

from ctxembed import Embedder, ModelSpec, Settings, TokenizedChunk
from ctxembed.cli.app import app
from ctxembed.cli.comparison_table import show
from ctxembed.errors import ConfigurationError, InputError
from ctxembed.evaluation.demo import run_demo
from ctxembed.testing import FakeBackend

SCRIPT = "<script>alert(1)</script>"


def fake_model(monkeypatch, context_weight: float) -> None:
    """Let the demo open a fake model."""
    spec = ModelSpec(
        name="fake",
        dimensions=16,
        max_tokens=1000,
        quantizer="tanh",
        context_weight=context_weight,
    )

    def open_fake(settings: Settings, **overrides: object) -> Embedder:
        return Embedder(FakeBackend(spec), Settings.from_dict(settings.to_dict() | overrides))

    monkeypatch.setattr(Embedder, "open", open_fake)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six documents of ten chunks with markup in them, and a query for each chunk."""
    documents, queries = [], []
    for number in range(6):
        parts = [f"{SCRIPT} & <b>part</b> {part} of {number}." for part in range(10)]
        text = "\n\n".join(parts)
        name = f'd"{number}'
        documents.append({"doc_id": name, "title": f"{SCRIPT}{number}", "text": text})
        for part, chunk in enumerate(parts):
            start = text.index(chunk)
            span = [start, start + len(chunk)]
            query = {"query": f"{SCRIPT} {chunk}", "doc_id": name, "spans": [span]}
            queries.append({"query_id": f"{number}-{part}", **query})
    folder = tmp_path / "tales & <i>more"
    folder.mkdir()
    for name, lines in (("docs", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


class Page(HTMLParser):
    """Collects the elements of a page and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.references: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        names = ("src", "href", "xlink:href", "action", "srcset", "data", "poster")
        self.references.update(value for name, value in attrs if name in names)


def test_the_report_is_inert_and_asks_for_nothing(monkeypatch, tmp_path, data):
    """Markup in documents stays text, and nothing outside the file is referred to."""
    fake_model(monkeypatch, 0.5)
    out = tmp_path / "report.html"
    run_demo("fake", data, chunk_tokens=8, out=out)
    html = out.read_text(encoding="utf-8")
    page = Page()
    page.feed(html)

    assert "&lt;script&gt;alert(1)" in html
    assert not {"script", "link", "iframe", "object"} & page.elements
    assert all(each.startswith(("#", "data:image/png;base64,")) for each in page.references)
    assert not re.search(r"url\((?!#)|@import", html)
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html


def test_both_plots_take_their_colours_from_the_page(monkeypatch, tmp_path, data):
    """No stand-in colour is left, and neither plot has a background of its own."""
    fake_model(monkeypatch, 0.5)
    out = tmp_path / "report.html"
    run_demo("fake", data, chunk_tokens=8, out=out)
    html = out.read_text(encoding="utf-8")

    assert html.count("<svg") == 2
    assert "#01020" not in html
    assert "var(--contextual)" in html.partition("<svg")[2]
    identities = re.findall(r'\bid="([^"]+)"', html)
    shared = {each for each in identities if identities.count(each) > 1}
    referred = set(re.findall(r"""(?:url\(|href=")#([^")]+)""", html))
    assert not shared & referred


def test_a_model_that_embeds_alone_is_compared_with_neighbours_only(monkeypatch, tmp_path, data):
    """No contextual way, no changes and no heat map; the report is written all the same."""
    fake_model(monkeypatch, 0.0)
    out = tmp_path / "report.html"
    result = run_demo("fake", data, chunk_tokens=8, out=out)

    assert ["independent", "neighbours"] == [method.name for method in result.methods]
    assert result.changes is result.heat_map is result.beyond is None
    assert "embeds each chunk alone" in result.verdict
    assert "embeds each chunk alone" in out.read_text(encoding="utf-8")
    show(result, Console(file=io.StringIO()))


def test_a_single_document_is_reported_without_intervals(monkeypatch, tmp_path, data):
    """One document with one chunk: nothing to draw, nothing beside it, and no error."""
    (data / "docs.jsonl").write_text('{"doc_id": "d", "text": "One chunk."}', encoding="utf-8")
    query = {"query_id": "q", "query": "What?", "doc_id": "d", "spans": [[0, 10]]}
    (data / "queries.jsonl").write_text(json.dumps(query), encoding="utf-8")
    fake_model(monkeypatch, 0.5)
    out = tmp_path / "report.html"
    result = run_demo("fake", data, chunk_tokens=8, out=out)

    assert "nothing is sure" in result.verdict
    assert "nan" not in out.read_text(encoding="utf-8").partition("<svg")[0]
    show(result, Console(file=io.StringIO()))


def test_a_query_without_a_chunk_that_answers_is_left_out_and_counted(monkeypatch, data):
    """A span of nothing but the whitespace between two chunks finds none."""
    text = json.loads((data / "docs.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    gap = text.index("\n\n")
    query = {"query_id": "x", "query": "?", "doc_id": 'd"0', "spans": [[gap, gap + 2]]}
    with (data / "queries.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(query))
    fake_model(monkeypatch, 0.5)
    result = run_demo("fake", data, chunk_tokens=8, out=None)

    assert (60, 1) == (result.queries, result.unanswered)


def test_what_cannot_be_written_or_read_is_said_before_the_work(monkeypatch, tmp_path, data):
    """A report into a folder that is not there, and chunks that the model can't read."""
    fake_model(monkeypatch, 0.5)

    with pytest.raises(ConfigurationError, match="there is no folder"):
        run_demo("fake", data, out=tmp_path / "no" / "report.html")
    with pytest.raises(ConfigurationError, match="is a folder"):
        run_demo("fake", data, out=tmp_path)
    with pytest.raises(ConfigurationError, match="reads at most 1000"):
        run_demo("fake", data, chunk_tokens=1001, out=None)


@pytest.mark.parametrize("own", [True, False])
def test_a_report_on_own_data_leaves_the_packaged_one(monkeypatch, tmp_path, data, own):
    """Without --out each folder has a report of its own, and its full path is said."""
    fake_model(monkeypatch, 0.5)
    monkeypatch.chdir(tmp_path)
    if not own:
        monkeypatch.setattr("ctxembed.evaluation.folders.OWN", data)
    given = ["--data", str(data)] if own else []
    result = CliRunner().invoke(app, ["demo", "--chunk-tokens", "8", *given])

    assert result.exit_code == 0, result.output
    report = tmp_path / (f"ctxembed-demo-{data.name}.html" if own else "ctxembed-demo.html")
    assert result.stdout.endswith(f"\nReport: {report}\n")
    assert [report] == list(tmp_path.glob("*.html"))


def test_a_document_that_the_model_cannot_read_is_named_by_its_id(monkeypatch, data):
    """Errors of the embedder carry the id of the user's file."""
    line = {"doc_id": "odd one", "text": "\x1c\u200b"}
    with (data / "docs.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(line))
    fake_model(monkeypatch, 0.5)
    monkeypatch.setattr(
        FakeBackend,
        "tokenize",
        lambda self, chunks: [
            TokenizedChunk(chunk, len(chunk.replace("\u200b", " ").split()), [1])
            for chunk in chunks
        ],
    )

    with pytest.raises(InputError, match="odd one"):
        run_demo("fake", data, chunk_tokens=8, out=None)


def test_the_terminal_fits_80_columns_and_a_file_gets_plain_text(monkeypatch, data):
    """No line is wider, nothing is cut off, and there is no colour code."""
    fake_model(monkeypatch, 0.5)
    result = run_demo("fake", data, chunk_tokens=8, out=None)
    file = io.StringIO()
    show(result, Console(file=file, width=80))
    text = file.getvalue()

    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "seconds" in text
    assert "\u2026" not in text
