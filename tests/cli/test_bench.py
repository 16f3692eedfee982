"""`ctxembed bench` by its parts: figures that are consistent, and what is refused before any work."""

import io
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.backends.work import Work, rate
from ctxembed.cli.bench.agreement import Agreement, agreement
from ctxembed.cli.bench.command import _dtypes
from ctxembed.cli.bench.documents import count_documents, documents
from ctxembed.cli.bench.measuring import MOST_RUNS, choose, measure, window_lengths
from ctxembed.cli.bench.memory import peak_memory
from ctxembed.cli.bench.result import Measured, Result
from ctxembed.cli.bench.terminal import show
from ctxembed.cli.lines import Document
from ctxembed.errors import InputError
from ctxembed.testing import FakeBackend

ROW = Measured(
    name="float32",
    device="cpu",
    threads=2,
    documents=3,
    chunks=40,
    tokens=5000,
    runs=2,
    seconds=2.5,
    started=0.5,
    loaded=1.25,
    first=0.25,
    memory=512 * 2**20,
    operations=5_000_000_000_000,
    peak=4000.0,
    agreement=Agreement(1.0, 0, 1.0),
)


def result(*rows, **changes):
    values = {"model": "m", "backend": "torch", "data": "d", "available": 3, "chunk_tokens": 256}
    values |= {"load": 0.1, "cores": 2}
    return Result(**(values | changes), rows=rows, facts={"date": "today"})


def changed(**values):
    return Measured(**{name: getattr(ROW, name) for name in Measured.__slots__} | values)


def many(count, chunks=4, words=10):
    return [
        Document(
            number,
            0,
            f"d{number}",
            [f"{number} {part} " + "w " * (words - 2) for part in range(chunks)],
        )
        for number in range(1, count + 1)
    ]


def slow(seconds_a_token):
    """Return an embedder whose clock is its tokens."""
    from ctxembed.cli.bench import measuring

    clock = [0.0]

    def fault(batch):
        clock[0] += seconds_a_token * sum(window.tokens for window in batch.windows)

    return Embedder(FakeBackend(fault=fault)), measuring, lambda: clock[0]


def test_derived_figures_follow_from_the_measured_ones():
    found = ROW.to_dict()

    assert found["tokens_per_second"] * found["seconds"] == found["tokens"]
    assert found["chunks_per_second"] * found["seconds"] == found["chunks"]
    assert found["first_vector"] == 2.0
    assert found["speed"] == 2000.0
    assert found["share"] == 0.5


def test_table_fits_80_columns_and_has_every_figure():
    out = io.StringIO()
    rows = [changed(name=name) for name in ("float32", "bfloat16", "int8")]
    show(result(*rows), Console(file=out, width=80))
    text = out.getvalue()

    assert max(map(len, text.splitlines())) <= 80
    lines = {line[:26].strip(): line[26:].split("  ") for line in text.splitlines()}
    cells = {
        name: [each.strip() for each in values if each.strip()] for name, values in lines.items()
    }
    assert cells["tokens/s"] == ["2,000"] * 3
    assert cells["chunks/s"] == ["16.0"] * 3
    assert cells["time to first vector"] == ["2.00 s"] * 3
    assert cells["peak memory"] == ["512 MiB"] * 3
    assert cells["share of that peak"] == ["50%"] * 3
    assert cells["int8 codes as in float32"] == ["100.0000%"] * 3
    assert cells["documents"] == ["3"] * 3
    assert "peak memory of the GPU" not in cells


def test_what_was_not_measured_is_said_and_never_invented():
    out = io.StringIO()
    found = result(
        changed(memory=None, operations=None, peak=None, agreement=None),
        backend="onnx",
        available=9,
    )
    show(found, Console(file=out, width=200))

    assert found.notes() == [
        "3 of 9 documents were measured, in order: --seconds decides how many fit.",
        "peak memory was not measured: only Linux tells it.",
        "the share of peak was not measured: the work inside an ONNX graph isn't known.",
        "agreement was not measured: there is nothing in float32 to compare with.",
    ]
    assert all(f"- {note}\n" in out.getvalue() for note in found.notes())
    assert "share of that peak" not in out.getvalue()
    assert json.loads(json.dumps(found.to_dict()))["rows"][0]["memory"] is None


def test_slower_type_says_that_it_read_fewer_documents():
    found = result(ROW, changed(name="bfloat16", documents=1), changed(name="int8", peak=None))

    assert found.notes() == [
        "bfloat16 is slower and was measured on 1 of these 3; what agrees is counted over those.",
        "the share of peak was not measured for int8: no floating-point products.",
    ]


@pytest.mark.parametrize(("load", "busy"), [(None, False), (0.9, False), (1.0, True), (9.0, True)])
def test_busy_machine_is_said_to_be_busy(load, busy):
    notes = result(ROW, load=load).notes()

    assert [note.startswith("the machine was busy before it began") for note in notes] == [
        True
    ] * busy


def test_agreement_of_codes_with_themselves_is_whole():
    codes = np.random.default_rng(0).integers(-128, 128, (50, 1024)).astype(np.int8)
    codes[7] = 0

    assert agreement(codes, codes) == Agreement(1.0, 0, 1.0)


def test_agreement_counts_codes_and_finds_the_worst():
    one = np.array([[3, 4], [0, 5], [0, 0]], np.int8)
    two = np.array([[3, 4], [5, 0], [0, 0]], np.int8)

    assert agreement(one, two) == Agreement(4 / 6, 5, 0.0)
    assert agreement(np.array([[3, 4]], np.int8), np.array([[-3, -4]], np.int8)).cosine == -1.0
    assert agreement(np.array([[127]], np.int8), np.array([[-128]], np.int8)).largest == 255
    with pytest.raises(ValueError, match="same chunks"):
        agreement(one, two[:2])


def test_operations_are_those_of_products_and_attention():
    work = Work(((6, 4), (4, 6)), attention=16)

    assert work.operations([10]) == 2 * 48 * 10 + 4 * 100 * 16
    assert work.operations([10, 10]) == 2 * work.operations([10])
    assert work.operations([]) == 0


def test_rate_is_operations_over_the_fastest_call():
    ticks = iter([0.0, 3.0, 3.0, 5.0] + [10.0 * n for n in range(1, 10**6)])

    assert rate(lambda: None, 4e9, clock=lambda: next(ticks)) == 2.0


def test_as_many_documents_are_taken_as_fit(monkeypatch):
    embedder, measuring, clock = slow(0.01)
    monkeypatch.setattr(measuring, "perf_counter", clock)
    chosen, estimate = choose(embedder, iter(many(100)), seconds=5.0)

    a_document = sum(window_lengths(embedder, many(1)[0]))
    assert a_document == 43  # 40 words, 3 separators
    assert len(chosen.documents) == int(500 / a_document)
    assert (chosen.chunks, chosen.tokens) == (4 * 11, 43 * 11)
    assert estimate == pytest.approx(chosen.tokens * 0.01)


def test_one_document_is_taken_however_long_it_is(monkeypatch):
    embedder, measuring, clock = slow(1.0)
    monkeypatch.setattr(measuring, "perf_counter", clock)
    chosen, estimate = choose(embedder, iter(many(3)), seconds=5.0)

    assert (len(chosen.documents), chosen.tokens) == (1, 43)
    assert estimate == pytest.approx(43)


def test_seconds_and_tokens_are_those_of_one_run(monkeypatch):
    embedder, measuring, clock = slow(0.01)
    monkeypatch.setattr(measuring, "perf_counter", clock)
    chosen, _ = choose(embedder, iter(many(3)), seconds=60.0)
    embedder.backend.batches.clear()
    timed = measure(embedder, chosen, seconds=60.0)

    assert timed.runs == MOST_RUNS
    assert timed.tokens == chosen.tokens == 3 * 43
    assert timed.seconds == pytest.approx(1.29)
    assert timed.codes.shape == (12, 16)
    read = sum(window.tokens for window in embedder.backend.windows)
    assert read == timed.runs * timed.tokens
    alike = np.concatenate(embedder.embed_documents(chosen.documents))
    np.testing.assert_array_equal(timed.codes, alike)


def test_no_further_run_is_begun_that_would_not_fit(monkeypatch):
    embedder, measuring, clock = slow(0.01)
    monkeypatch.setattr(measuring, "perf_counter", clock)
    chosen, _ = choose(embedder, iter(many(10)), seconds=5.0)

    assert measure(embedder, chosen, seconds=5.0).runs == 1


def test_prefixes_and_second_passes_count_as_read():
    spec = ModelSpec(
        name="f", dimensions=16, max_tokens=1000, context_weight=0.5, separator_tokens=0
    )
    embedder = Embedder(FakeBackend(spec), Settings(document_prefix="two words"))
    document = many(1)[0]
    embedder.embed_documents([document.chunks])

    assert sum(window_lengths(embedder, document)) == embedder.usage.tokens


def test_shipped_documents_come_by_length_and_are_all_counted():
    found = list(documents(None, lambda text: [text]))
    lengths = [len(document.chunks[0]) for document in found]

    assert len(found) == count_documents(None) == 23
    assert lengths == sorted(lengths)


def test_own_documents_are_read_as_embed_reads_them(lines):
    path = lines({"id": "a", "chunks": ["x", "y"]}, b"", {"id": "b", "text": "one two"})
    found = documents(path, str.split)

    assert [list(each.chunks) for each in found] == [["x", "y"], ["one", "two"]]
    assert count_documents(path) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "line 2: is not JSON"),
        ({"id": "b", "chunks": ["x", " "]}, r"line 2 \(id 'b'\), chunk 1: "),
        ({"id": "b", "chunks": [3]}, r"line 2 \(id 'b'\), chunk 0: "),
        ({"id": "b", "chunks": []}, r"line 2 \(id 'b'\): "),
    ],
)
def test_bad_line_is_named(lines, line, reason):
    path = lines({"id": "a", "chunks": ["x"]}, line)

    with pytest.raises(InputError, match=rf"in\.jsonl, {reason}"):
        list(documents(path, str.split))


def test_chunk_beyond_the_model_is_named_by_its_line(lines):
    path = lines({"id": "a", "chunks": ["x"]}, {"id": "b", "chunks": ["w " * 1001]})

    with pytest.raises(InputError, match=r"in\.jsonl, line 2 \(id 'b'\), chunk 0: "):
        choose(Embedder(FakeBackend()), documents(path, str.split), seconds=5.0, data=path)


def test_no_more_is_read_of_a_file_than_is_measured(lines):
    path = lines({"id": "a", "chunks": ["x"]}, b"no JSON")

    assert len(list(islice(documents(path, str.split), 1))) == 1


@pytest.mark.parametrize(
    ("backend", "asked", "compared", "names"),
    [
        ("torch", [], True, ["float32", "bfloat16"]),
        ("torch", ["bfloat16"], True, ["float32", "bfloat16"]),
        ("torch", ["bfloat16"], False, ["bfloat16"]),
        ("torch", ["bfloat16", "float32", "bfloat16"], False, ["float32", "bfloat16"]),
        ("onnx", [], True, ["auto"]),
    ],
)
def test_types_are_measured_once_and_float32_first(backend, asked, compared, names):
    assert _dtypes(backend, asked, agreement=compared) == names


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--backend", "api"], "bench measures this machine, and an API computes elsewhere."),
        (["--model", "x", "--dtype", "half"], "float16 gives NaN with these models."),
        (["--model", "x", "--dtype", "auto"], "--dtype auto names no type."),
        (["--model", "x", "--data", "-"], "it can't be standard input."),
        (["--model", "x", "--data", "no.jsonl"], "no.jsonl: No such file or directory"),
        (["--model", "minilm", "--backend", "torch"], "'minilm' is an ONNX model."),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_process(run, monkeypatch, arguments, line):
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("started"))
    found = run("bench", *arguments)

    assert found.exit_code == 2
    assert line in found.stderr


def test_empty_file_is_refused(run, lines):
    found = run("bench", "--model", "x", "--data", lines(b""))

    assert found.exit_code == 2
    assert found.stderr.endswith("in.jsonl: there are no documents.\n")


def test_peak_memory_is_the_most_that_was_held(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")

    assert peak_memory(status) == 2 * 2**20
    assert peak_memory(Path(tmp_path, "absent")) is None
