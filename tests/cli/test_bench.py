"""`ctxembed bench` by its parts: consistent figures, and what is refused before any work."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.backends.flops import Work, rate
from ctxembed.cli.bench.agreement import Agreement, agreement
from ctxembed.cli.bench.command import _dtypes
from ctxembed.cli.bench.documents import count_documents, documents
from ctxembed.cli.bench.measurement import MOST_RUNS, choose, measure, window_lengths
from ctxembed.cli.bench.peak_memory import peak_memory
from ctxembed.errors import InputError
from ctxembed.files.documents import Document
from ctxembed.testing import FakeBackend


def many(count, chunks=4, words=10):
    return [
        Document(
            number,
            f"d{number}",
            [f"{number} {part} " + "w " * (words - 2) for part in range(chunks)],
        )
        for number in range(1, count + 1)
    ]


def slow(seconds_a_token):
    """Return an embedder whose clock is its tokens."""
    from ctxembed.cli.bench import measurement

    clock = [0.0]

    def fault(batch):
        clock[0] += seconds_a_token * sum(window.tokens for window in batch.windows)

    return Embedder(FakeBackend(fault=fault)), measurement, lambda: clock[0]


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
    embedder, measurement, clock = slow(0.01)
    monkeypatch.setattr(measurement, "perf_counter", clock)
    chosen, estimate = choose(embedder, iter(many(100)), seconds=5.0)

    a_document = sum(window_lengths(embedder, many(1)[0]))
    assert a_document == 43  # 40 words, 3 separators
    assert len(chosen.documents) == int(500 / a_document)
    assert (chosen.chunks, chosen.tokens) == (4 * 11, 43 * 11)
    assert estimate == pytest.approx(chosen.tokens * 0.01)


def test_one_document_is_taken_however_long_it_is(monkeypatch):
    embedder, measurement, clock = slow(1.0)
    monkeypatch.setattr(measurement, "perf_counter", clock)
    chosen, estimate = choose(embedder, iter(many(3)), seconds=5.0)

    assert (len(chosen.documents), chosen.tokens) == (1, 43)
    assert estimate == pytest.approx(43)


def test_seconds_and_tokens_are_those_of_one_run(monkeypatch):
    embedder, measurement, clock = slow(0.01)
    monkeypatch.setattr(measurement, "perf_counter", clock)
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


def test_waiting_is_that_of_the_fastest_run(monkeypatch):
    embedder, measurement, clock = slow(0.01)
    monkeypatch.setattr(measurement, "perf_counter", clock)
    chosen, _ = choose(embedder, iter(many(3)), seconds=60.0)
    pauses = iter([(2, 4), (1, 8), (0, 5), (3, 2), (3, 9)])
    total = [0]
    embed = embedder.embed_documents

    def disturbed(documents):
        pause, wait = next(pauses)
        total[0] += wait * 10**9
        if pause:
            embed([["w " * 100 * pause]])
        return embed(documents)

    monkeypatch.setattr(embedder, "embed_documents", disturbed, raising=False)
    monkeypatch.setattr(measurement, "waits", lambda: {"t": total[0]})

    assert measure(embedder, chosen, seconds=60.0).waited == 5.0


def test_no_further_run_is_begun_that_would_not_fit(monkeypatch):
    embedder, measurement, clock = slow(0.01)
    monkeypatch.setattr(measurement, "perf_counter", clock)
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
        ("onnx", ["float32", "auto"], True, ["auto"]),
        ("onnx", ["float32", "int8"], True, ["int8", "auto"]),
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
        (["--model", "x", "--data", "-"], "it cannot be standard input."),
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
