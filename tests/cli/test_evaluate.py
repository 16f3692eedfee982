"""`ctxembed evaluate`, on a backend without weights: queries of every kind, outputs, bad input."""

import html
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("ir_measures")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
pytest.importorskip("semantic_text_splitter")

WORDS = ["mill", "ferry", "bakery", "orchard", "school", "bridge", "tannery", "market", "chapel"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six documents of nine paragraphs, and a query for each paragraph of the first five."""
    folder = tmp_path / "town"
    folder.mkdir()
    documents, queries = [], []
    for number in range(6):
        parts = [
            f"In year {number}{n} the {w} of ward {number} was old." for n, w in enumerate(WORDS)
        ]
        text = "\n\n".join(parts)
        documents.append({"id": f"d{number}", "title": f"Ward {number}", "text": text})
        for n, part in enumerate(parts if number < 5 else ()):
            span = [text.index(part), text.index(part) + len(part)]
            queries.append({"id": f"q{number}{n}", "query": part, "doc_id": f"d{number}"})
            queries[-1]["spans"] = [span]
    write(folder / "docs.jsonl", documents)
    write(folder / "queries.jsonl", queries)
    return folder


def write(path: Path, lines: list[dict]) -> None:
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def pages(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob("*.html"))


def test_labels_of_the_folder_are_taken_and_a_sweep_is_shown(run, folder):
    """The methods, then what is varied; what is one of them already is not shown twice."""
    vary = ["--vary", "chunk_tokens=12,30", "--vary", "encoding=int8,ubinary"]
    result = run("evaluate", folder, "--model", "fake", "--chunk-tokens", "12", *vary)

    assert result.exit_code == 0, result.output
    assert "town: 6 documents, 54 chunks, 45 queries" in result.stdout
    assert "simulated" not in result.stdout
    for row in ("12, int8 independent", "12, int8 contextual", "12, int8 neighbours"):
        assert row in result.stdout
    for row in ("12, ubinary", "30, int8", "30, ubinary"):
        assert re.search(rf"^[+ ] {row}  ", result.stdout, re.MULTILINE)
    (page,) = pages(folder)
    assert result.stdout.endswith(f"\nReport: {page}\n")
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 3
    assert "to run it again" in text
    assert text.count('class="best"') == result.stdout.count("\n+ ")


def sentences(page: str) -> list[str]:
    """Return the sentences of a report in its own words: no plots, tables, texts or facts."""
    for tag in ("style", "svg", "table", "article", "dl"):
        page = re.sub(rf"<{tag}\b.*?</{tag}>", "", page, flags=re.DOTALL)
    text = re.sub(r"<(?:p|h\d|figcaption|div)\b[^>]*>", ". ", page)
    return re.split(r"[.:] ", " ".join(re.sub(r"<[^>]+>", "", text).split()))


def test_no_sentence_of_the_report_is_long_and_the_terminal_has_the_same_words(run, folder):
    """Thirty words at the most; what was found is said in one way."""
    (folder / "queries.jsonl").unlink()
    vary = ["--vary", "chunk_tokens=12,30"]
    result = run("evaluate", folder, "--model", "fake", "--chunk-tokens", "12", *vary)
    said = sentences(html.unescape(pages(folder)[0].read_text(encoding="utf-8")))
    shown = " ".join(result.stdout.split())

    assert max(len(each.split()) for each in said) <= 30
    assert len(said) > 30
    for each in said:
        if "nDCG@10 +" in each or "nDCG@10 -" in each or "interval" in each or "+ marks" in each:
            assert each.rstrip(".") in shown


def test_a_report_replaces_none_of_other_settings(run, folder):
    """The same settings have the same name; others have another."""
    for seed in (0, 0, 1):
        found = run("evaluate", folder, "--model", "fake", "--chunk-tokens", 12, "--seed", seed)
        assert found.exit_code == 0, found.output

    assert len(pages(folder)) == 2


def test_the_figures_as_json_are_all_that_is_printed(run, folder):
    result = run(
        *("evaluate", folder, "--model", "fake", "--chunk-tokens", "12", "--json", "--no-report"),
        *("--vary", "dimensions=8"),
    )
    found = json.loads(result.stdout)

    assert [] == pages(folder)
    assert (6, 45, 0, None) == tuple(
        found[name] for name in ("documents", "queries", "unanswered", "simulated")
    )
    names = ["independent", "contextual", "neighbours", "dimensions 8"]
    assert names == [each["name"] for each in found["runs"]]
    assert found["runs"][3]["bytes_per_chunk"] == 8
    assert found["runs"][0]["difference_to_first"]["nDCG@10"] == {
        "value": 0.0,
        "low": 0.0,
        "high": 0.0,
    }


@pytest.mark.parametrize("queries", [None, "simulate", "headings"])
def test_queries_that_nobody_asked_are_said_to_be_simulated(run, folder, queries):
    """In the terminal, in the report and in JSON; by default where there are no labels."""
    (folder / "queries.jsonl").unlink()
    if queries == "headings":
        (folder / "docs.jsonl").unlink()
        for number in range(6):
            text = f"## The {WORDS[number]}\nIt burnt.\n## The {WORDS[number + 1]}\nIt stands."
            (folder / f"{number}.md").write_text(text, encoding="utf-8")
    given = [] if queries is None else ["--queries", queries]
    command = ("evaluate", folder, "--model", "fake", "--chunk-tokens", "12", *given)
    result = run(*command)

    assert result.exit_code == 0, result.output
    assert "The queries are simulated: nobody asked them." in result.stdout
    assert "Queries: " in result.stdout
    assert "<b>Simulated.</b>" in pages(folder)[0].read_text(encoding="utf-8")
    assert json.loads(run(*command, "--json", "--no-report").stdout)["simulated"]


def test_plain_lines_are_answered_side_by_side_and_judged_in_a_form(run, folder):
    """A form is filled in and read back; it is never written over."""
    lines = folder.parent / "asked.txt"
    lines.write_text("Which mill was old?\n\nWhat about the chapel of ward 3?\n", encoding="utf-8")
    command = ("evaluate", folder, "--model", "fake", "--chunk-tokens", "12")
    result = run(*command, "--queries", lines)
    (form,) = folder.parent.glob("ctxembed-evaluate-*.txt")
    text = form.read_text(encoding="utf-8")

    assert result.exit_code == 0, result.output
    assert "independent Ward" in result.stdout
    assert "contextual  Ward" in result.stdout
    assert [] == pages(folder)
    assert 10 <= text.count("\n[ ] ") <= 30
    assert "is there already" in run(*command, "--queries", lines).stderr
    assert "no passage is marked" in run(*command, "--judged", form).stderr

    form.write_text(text.replace("[ ]", "[x]", 1), encoding="utf-8")
    result = run(*command, "--judged", form, "--no-report")
    assert "1 query, 1 more without an answer, left out" in result.stdout
    assert "MRR@10" in result.stdout


def test_labelled_queries_of_a_file_take_the_place_of_those_of_the_folder(run, folder):
    file = folder.parent / "mine.jsonl"
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(lines[::9]), encoding="utf-8")
    command = ("evaluate", folder, "--model", "fake", "--chunk-tokens", "12", "--no-report")
    result = run(*command, "--queries", file)

    assert "54 chunks, 5 queries" in result.stdout


def test_a_query_without_a_relevant_chunk_is_counted_and_left_out(run, folder):
    with (folder / "queries.jsonl").open("a", encoding="utf-8") as file:
        text = json.loads((folder / "docs.jsonl").read_text().splitlines()[0])["text"]
        gap = text.index("\n\n")
        line = {"id": "x", "query": "?", "doc_id": "d0", "spans": [[gap, gap + 2]]}
        file.write("\n" + json.dumps(line))
    result = run("evaluate", folder, "--model", "fake", "--chunk-tokens", "12", "--no-report")

    assert "45 queries, 1 more without an answer, left out" in result.stdout


def test_one_document_has_no_interval_and_says_so(run, folder):
    documents = (folder / "docs.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "docs.jsonl").write_text(documents[0], encoding="utf-8")
    queries = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    (folder / "queries.jsonl").write_text("\n".join(queries[:9]), encoding="utf-8")
    result = run("evaluate", folder, "--model", "fake", "--chunk-tokens", "12", "--no-report")

    assert "With 1 document there are no intervals" in result.stdout
    assert "nan" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere is not a folder or a file."),
        (["empty"], "empty has no docs.jsonl, no corpus.jsonl"),
        (["town", "--vary", "model=a"], "'model' cannot be varied."),
        (["town", "--vary", "dimensions=17"], "dimensions is 17 and fake has 16."),
        (["town", "--chunk-tokens", "2000"], "chunk_tokens is 2000 and fake reads at most 1000."),
        (["town", "--queries", "a", "--judged", "b"], "--queries and --judged both name queries."),
        (["town", "--queries", "lines"], "lines: No such file"),
        (["town", "--queries", "headings"], "no document has a heading with a section."),
        (["town", "-o", "no/report.html"], "there is no folder"),
    ],
)
def test_what_cannot_be_used_is_one_line(run, folder, arguments, line):
    (folder.parent / "empty").mkdir()
    found = run("evaluate", *arguments)

    assert found.exit_code == 2
    assert found.stderr.rstrip().splitlines()[-1].startswith("error: ")
    assert line in found.stderr


def test_a_folder_as_beir_has_it_is_evaluated(run, tmp_path):
    """Documents are ranked, and the report says so."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = [f"The {word} is old. It is small. It burnt once." for word in WORDS]
    corpus = [
        {"_id": str(n), "title": w, "text": t}
        for n, (w, t) in enumerate(zip(WORDS, texts, strict=True))
    ]
    write(folder / "corpus.jsonl", corpus)
    asked = [{"_id": f"q{n}", "text": text[:16]} for n, text in enumerate(texts)]
    write(folder / "queries.jsonl", asked)
    table = ["query-id\tcorpus-id\tscore", *(f"q{n}\t{n}\t1" for n in range(8))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(table), encoding="utf-8")
    result = run("evaluate", folder, "--model", "fake", "--chunk-tokens", "4")

    assert result.exit_code == 0, result.output
    assert "beir: 9 documents, 27 chunks, 8 queries" in result.stdout
    assert "so documents are ranked" in pages(folder)[0].read_text(encoding="utf-8")


def test_the_documentation_of_this_project_is_evaluated_by_its_headings(run):
    """A folder of Markdown files, as anyone has one."""
    docs = Path(__file__).parents[2] / "docs"
    command = ("--model", "fake", "--no-report", "--queries", "headings", "--json")
    found = json.loads(run("evaluate", docs, *command).stdout)

    assert found["documents"] == len([*docs.rglob("*.md")])
    assert found["queries"] > 2 * found["documents"]
    assert "headings" in found["simulated"]
