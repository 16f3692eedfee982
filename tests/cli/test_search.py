"""`ctxembed search`: the nearest chunks, with the model that the file names and no other."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctxembed import Embedder, Settings, find_model
from ctxembed.cli.nearest_chunks import nearest
from ctxembed.files import parquet
from ctxembed.files.origin import Origin
from ctxembed.files.parquet import Rows
from ctxembed.testing import FakeBackend

TALES = [[f"word{n} of {d}" for n in range(7)] for d in range(5)]


@pytest.fixture
def embedded(run, lines):
    """Embed the tales into tales.parquet with the options given."""

    def call(*options):
        documents = [{"id": f"t{n}", "chunks": tale} for n, tale in enumerate(TALES)]
        result = run("embed", lines(*documents), "-o", "tales.parquet", *options)
        assert result.exit_code == 0, result.stderr

    return call


def hits(result):
    assert result.exit_code == 0, result.stderr
    return [line.split("\t") for line in result.stdout.splitlines()]


@pytest.mark.parametrize("options", [[], ["--encoding=float"], ["--normalize"]])
def test_cosine_ranks_codes_and_floats(run, embedded, options, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS_READ", 4)
    embedded(*options)
    found = hits(run("search", "word3 of 2", "--in", "tales.parquet", "-k", "4"))

    settings = Settings(**{"encoding": "float"} if options == ["--encoding=float"] else {})
    embedder = Embedder(FakeBackend(), settings)
    rows = np.concatenate(embedder.embed_documents(TALES)).astype(float)
    query = embedder.embed_query("word3 of 2").astype(float)
    scores = rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    order = np.argsort(-scores)[:4]
    assert [[f"t{n // 7}", str(n % 7), TALES[n // 7][n % 7]] for n in order] == [
        hit[1:] for hit in found
    ]
    assert np.allclose(scores[order], [float(hit[0]) for hit in found], atol=1e-5)


@pytest.mark.parametrize("encoding", ["binary", "ubinary"])
def test_differing_bits_rank_signs(run, embedded, encoding):
    embedded("--encoding", encoding, "--dimensions", "12")
    found = hits(run("search", "word3 of 2", "--in", "tales.parquet", "-k", "35"))

    embedder = Embedder(FakeBackend(), Settings(encoding="binary", dimensions=12))
    rows = np.concatenate(embedder.embed_documents(TALES))
    counts = (rows != embedder.embed_query("word3 of 2")).sum(axis=1)
    order = np.argsort(counts, kind="stable")
    assert [[str(counts[n]), f"t{n // 7}", str(n % 7)] for n in order] == [h[:3] for h in found]


def test_zero_rows_of_blank_chunks_are_never_hits():
    rows = Rows(["a"] * 3, [0, 1, 2], ["x", " ", "y"], np.array([[1, 0], [0, 0], [-1, 0]], "i1"))

    found = nearest(np.array([1, 0], "i1"), [rows], "int8", 5)
    assert [(1.0, "x"), (-1.0, "y")] == [(hit.score, hit.text) for hit in found]


@pytest.mark.parametrize("encoding", ["int8", "float", "binary"])
def test_zero_rows_of_texts_without_a_token_are_never_hits(encoding):
    kind = np.float32 if encoding == "float" else np.int8
    vectors = np.array([[1, -1], [0, 0], [-1, 1]], kind)
    rows = Rows(["a"] * 3, [0, 1, 2], ["x", "\u200b\u200b", "y"], vectors)

    found = nearest(np.array([1, -1], kind), [rows], encoding, 5)
    assert ["x", "y"] == [hit.text for hit in found]


def test_packed_bits_that_are_all_zero_are_a_vector():
    rows = Rows(["a"] * 2, [0, 1], ["x", "y"], np.array([[255], [0]], np.uint8))

    found = nearest(np.array([0], np.uint8), [rows], "ubinary", 5)
    assert [(0, "y"), (8, "x")] == [(hit.score, hit.text) for hit in found]


def test_text_is_printed_on_one_line_without_control_characters(run, lines):
    tale = {"id": "a\tb", "chunks": ["red \x1b[31m\n\ttext\r\n"]}
    run("embed", lines(tale), "-o", "o.parquet")
    result = run("search", "text", "--in", "o.parquet")

    ((_, name, _, text),) = hits(result)
    assert (name, text) == ("a b", "red [31m text")


def test_joiners_stay_in_their_words(run, lines):
    text = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f52c"
    run("embed", lines({"id": "a", "chunks": [text + "\u202e\u200b end"]}), "-o", "o.parquet")

    ((*_, told),) = hits(run("search", "text", "--in", "o.parquet"))
    assert told == f"{text} end"


def test_two_files_are_refused(run, embedded):
    embedded()
    result = run("search", "x", "--in", "tales.parquet", "--in", "tales.parquet")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: --in names 2 inputs, and one is searched at a time.")


def test_other_model_is_refused(run, embedded):
    embedded("--model", "minilm")
    result = run("search", "x", "--in", "tales.parquet", "--model", "pplx-embed-v1-4b")

    assert result.exit_code == 2
    assert result.stderr == (
        "error: tales.parquet was embedded with minilm, and pplx-embed-v1-4b would give other "
        "vectors. Hint: leave --model out.\n"
    )


def test_other_name_of_the_same_model_is_taken(run, embedded):
    embedded("--model", "minilm")
    alias = find_model("minilm").aliases[0]

    assert run("search", "x", "--in", "tales.parquet", "--model", alias).exit_code == 0


@pytest.fixture
def model(tmp_path):
    """A model directory, as far as fingerprints look at one."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.onnx").write_bytes(b"weights")
    return folder


def test_directory_may_move(run, embedded, model, tmp_path):
    embedded("--model", "model")
    assert run("search", "x", "--in", "tales.parquet").exit_code == 0
    model.rename(tmp_path / "moved")
    lost = run("search", "x", "--in", "tales.parquet")
    found = run("search", "x", "--in", "tales.parquet", "--model", "moved")

    assert lost.exit_code == 2
    assert "does not exist any more. Hint: --model says where it is now." in lost.stderr
    assert found.exit_code == 0


def test_weights_that_changed_are_refused(run, embedded, model):
    embedded("--model", "model")
    (model / "model.onnx").write_bytes(b"others!")
    result = run("search", "x", "--in", "tales.parquet")

    assert result.exit_code == 2
    assert "model has changed since. Hint: embed again." in result.stderr


def test_file_is_found_from_another_folder(run, embedded, model, tmp_path, monkeypatch):
    embedded("--model", "model")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert run("search", "x", "--in", "../tales.parquet").exit_code == 0


def test_lines_of_json_are_refused_with_what_can_be_searched(run, lines):
    run("embed", lines({"id": "a", "chunks": ["x"]}), "-o", "o.jsonl")
    result = run("search", "x", "--in", "o.jsonl")

    assert result.exit_code == 2
    assert "only the .parquet output of `ctxembed embed` can be searched." in result.stderr


def write_foreign(path, **metadata):
    table = pa.table({"id": ["a"], "chunk_index": [0], "text": ["x"], "embedding": [[1.0]]})
    pq.write_table(table.replace_schema_metadata(metadata), path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b""), "is not a Parquet file, or damaged."),
        (lambda path: path.write_bytes(b"PAR1" * 9), "is not a Parquet file, or damaged."),
        (write_foreign, "does not name the model that made it: it is not from `ctxembed embed`."),
        (
            lambda path: write_foreign(
                path,
                **{
                    "ctxembed.settings": '{"future": 1}',
                    "ctxembed.fingerprint": "x",
                    "ctxembed.dimensions": "1",
                    "ctxembed.version": "9.0",
                },
            ),
            "names settings that this version does not know. It is from ctxembed 9.0",
        ),
    ],
)
def test_file_that_is_not_ours_is_refused_with_the_reason(run, tmp_path, write, message):
    write(tmp_path / "f.parquet")
    result = run("search", "x", "--in", "f.parquet")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: f.parquet")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_blank_query_is_refused(run, embedded):
    embedded()
    result = run("search", " ", "--in", "tales.parquet")

    assert result.exit_code == 2
    assert "is empty or only whitespace" in result.stderr


class Requests(list):
    """A server that keeps what it was asked, and refuses it."""

    def __init__(self):
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                kept.append(self.headers["Authorization"])
                self.send_error(400)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


API = Settings(backend="api", base_url="http://127.0.0.1:9")


@pytest.mark.parametrize("by_option", [False, True])
def test_no_file_decides_where_the_key_goes(invoke, tmp_path, monkeypatch, by_option):
    with Requests() as theirs, Requests() as mine:
        planted = {**API.to_dict(), "base_url": theirs.url}
        write_foreign(
            tmp_path / "o.parquet",
            **{
                "ctxembed.settings": json.dumps(planted),
                "ctxembed.fingerprint": API.fingerprint(),
                "ctxembed.dimensions": "1",
            },
        )
        monkeypatch.setenv("PERPLEXITY_API_KEY", "pplx-0123456789")
        monkeypatch.setenv("PERPLEXITY_BASE_URL", "http://127.0.0.1:9" if by_option else mine.url)
        options = ["--base-url", mine.url] if by_option else []
        result = invoke("search", "x", "--in", "o.parquet", *options)

    assert result.exit_code == 2
    assert (theirs, mine) == ([], ["Bearer pplx-0123456789"])


def test_a_file_says_all_settings_but_where_the_api_is(run, embedded):
    embedded("--backend", "api", "--base-url", "http://127.0.0.1:9", "--timeout", "600")
    metadata = pq.read_schema("tales.parquet").metadata

    values = Settings(backend="api", timeout=600.0).to_dict()
    for name in ("base_url", "cache", "cache_bytes"):
        del values[name]
    assert json.loads(metadata[b"ctxembed.settings"]) == values
    assert b"127.0.0.1:9" not in b"".join(metadata.values())


def test_a_file_from_before_there_were_neighbours_is_known_by_its_fingerprint():
    """Its vectors have none, whatever is the model's default now."""
    stored = "367f3a3fa09a2e79ad69b9967c79700f"  # of minilm, in the release before the setting
    metadata = Origin.of(Settings(model="minilm"), stored, 384).to_metadata()
    settings = json.loads(metadata[b"ctxembed.settings"])
    del settings["neighbour_weight"]
    metadata[b"ctxembed.settings"] = json.dumps(settings).encode()
    origin = Origin.from_metadata(metadata)

    assert origin.settings.fingerprint() == origin.fingerprint == stored
