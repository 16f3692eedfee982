"""`ctxembed bench`: what is told, of figures, disturbance, settings and devices."""

import io
import json
import re

import pytest
from rich.console import Console

from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.cli.bench import command, process, worker
from ctxembed.cli.bench.agreement import Agreement
from ctxembed.cli.bench.core_waits import waited, waits
from ctxembed.cli.bench.process import Task
from ctxembed.cli.bench.result import Measured, Result
from ctxembed.cli.bench.terminal import show
from ctxembed.testing import FakeBackend

ROW = Measured(
    name="float32",
    device="cpu",
    threads=2,
    documents=3,
    chunks=40,
    chunk_tokens=256,
    tokens=5000,
    runs=2,
    seconds=2.5,
    started=0.5,
    loaded=1.25,
    first=0.25,
    waited=0.04,
    memory=512 * 2**20,
    operations=5_000_000_000_000,
    peak=4000.0,
    agreement=Agreement(1.0, 0, 1.0),
)


def result(*rows, **changes):
    values = {"model": "m", "backend": "torch", "data": "d", "available": 3}
    values |= {"settings": {"model": "m"}, "seconds": 20.0, "load": 0.1, "cores": 2}
    return Result(**(values | changes), rows=rows, facts={"date": "today"})


def changed(**values):
    return Measured(**{name: getattr(ROW, name) for name in Measured.__slots__} | values)


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
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    cells = {name: values for name, *values in lines}
    assert cells["tokens/s"] == ["2,000"] * 3
    assert cells["chunks/s"] == ["16.0"] * 3
    assert cells["time to first vector"] == ["2.00 s"] * 3
    assert cells["peak memory"] == ["512 MiB"] * 3
    assert cells["share of that peak"] == ["50%"] * 3
    assert cells["waited for a core"] == ["4%"] * 3
    assert cells["loading model and libraries"] == ["1.25 s"] * 3
    assert cells["codes equal to float32's"] == ["100.0000%"] * 3
    assert cells["documents"] == ["3"] * 3
    assert "peak memory, fullest GPU" not in cells


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
        "the share of peak was not measured: the work inside an ONNX graph is not known.",
        "agreement was not measured: there is nothing in float32 to compare with.",
    ]
    assert all(f"- {note}\n" in out.getvalue() for note in found.notes())
    assert "share of that peak" not in out.getvalue()
    assert json.loads(json.dumps(found.to_dict()))["rows"][0]["memory"] is None


def test_slower_type_says_that_it_read_fewer_documents():
    found = result(ROW, changed(name="bfloat16", documents=1), changed(name="int8", peak=None))

    assert found.notes() == [
        "bfloat16 is slower and was measured on 1 of these 3; the agreement is counted over those.",
        "the share of peak was not measured for int8: no floating-point products.",
    ]


@pytest.mark.parametrize(("load", "busy"), [(None, False), (0.9, False), (1.0, True), (9.0, True)])
def test_busy_machine_is_said_to_be_busy(load, busy):
    notes = result(ROW, load=load).notes()

    assert [note.startswith("the machine was busy before it began") for note in notes] == [
        True
    ] * busy


def test_load_is_set_against_all_cores_of_the_machine(run, monkeypatch):
    monkeypatch.setattr(command.machine, "load", lambda: 3.5)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr(process, "measure_all", lambda _: (ROW,))
    found = json.loads(run("bench", "--model", "x", "--json").stdout)

    assert (found["load"], found["cores"]) == (3.5, 64)
    assert not [note for note in found["notes"] if "busy" in note]
    (note,) = result(ROW, load=3.5, cores=1).notes()
    assert "load 3.5 on 1 core:" in note


def schedstat(folder, **threads):
    for name, text in threads.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "schedstat").write_text(text)


def test_waiting_is_that_of_threads_in_both_readings(tmp_path):
    schedstat(tmp_path, t1="500 1000000000 3\n", t2="7 20 1\n", gone="7 9000000000 1\n")
    before = waits(tmp_path)
    (tmp_path / "gone" / "schedstat").unlink()
    schedstat(tmp_path, t1="900 3500000000 9\n", t2="9 500000020 4\n", new="1 7000000000 1\n")
    after = waits(tmp_path)

    assert before == {"t1": 1_000_000_000, "t2": 20, "gone": 9_000_000_000}
    assert waited(before, after) == 2.5 + 0.5


def test_waiting_is_unknown_where_nobody_counts(tmp_path):
    assert waits(tmp_path / "absent") is None
    schedstat(tmp_path, t1="0 0 0\n", t2="0 0 0\n")
    assert waits(tmp_path) is None
    assert waited(None, {"t1": 1}) is waited({"t1": 1}, None) is None


def test_waiting_becomes_a_share_of_all_threads_time():
    events = {
        "imported": {"at": 1.0},
        "loaded": {"at": 2.0},
        "first": {"at": 3.0},
        "chosen": {"documents": 1, "chunks": 4, "chunk_tokens": 64},
        "timed": {"tokens": 9, "runs": 1, "seconds": 5.0, "memory": None, "waited": 4.8},
        "done": {"device": "cpu", "threads": 2},
    }
    unknown = events | {"timed": events["timed"] | {"waited": None}}

    assert process._measured(events, "bfloat16").waited == pytest.approx(0.48)
    assert process._measured(unknown, "bfloat16").waited is None


def test_threads_that_waited_are_named():
    slowed = changed(name="bfloat16", waited=0.48)
    found = result(changed(waited=None), slowed, changed(name="int8", waited=0.1)).notes()

    quiet = "on a quiet machine the figures are better."
    assert found == [
        f"bfloat16: its threads waited 48% of the time for a core: {quiet}",
        f"int8: its threads waited 10% of the time for a core: {quiet}",
    ]
    assert result(changed(waited=0.099)).notes() == []


def test_settings_that_were_given_are_told(run, monkeypatch):
    row = changed(chunk_tokens=64)
    monkeypatch.setattr(process, "measure_all", lambda _: (row,))
    given = ["--batch-tokens", 32768, "--window-tokens", 512, "--dtype", "float32"]
    given += ["--document-prefix", "doc: ", "--backend", "torch"]
    found = json.loads(run("bench", "--model", "x", *given, "--json").stdout)
    shown = run("bench", "--model", "x", *given, "--seconds", 7.5).stdout

    told = (
        "window_tokens 512, document_prefix 'doc: ', batch_tokens 32768, chunks of up to 64 tokens"
    )
    assert found["facts"]["settings"] == f"{told}, 20 s each"
    assert f"{told}, 7.5 s each\n" in shown
    asked = {"model": "x", "backend": "torch", "window_tokens": 512, "batch_tokens": 32768}
    everything = Settings(**asked, document_prefix="doc: ").to_dict()
    del everything["dtype"]
    assert found["settings"] == everything
    assert (found["chunk_tokens"], found["seconds"]) == (64, 20.0)


def events_of(embedder, folder, lines, **task):
    """Return what the worker tells of one document with a long text, event by event."""
    told = {}
    text = " ".join(f"Sentence number {each} ends." for each in range(100))
    data = lines({"id": "a", "text": text})
    plain = {"data": str(data), "seconds": 1.0, "limit": None, "chunk_tokens": None}
    plain |= {"codes": str(folder / "codes.npy")} | task
    worker._measure(embedder, plain, lambda name, **values: told.update({name: values}), "onnx")
    return told


@pytest.mark.parametrize(
    ("window", "asked", "used"), [(256, None, 64), (4096, None, 256), (256, 10, 10)]
)
def test_texts_are_cut_as_embed_cuts_them(run, fake, lines, tmp_path, window, asked, used):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    spec = ModelSpec(name="f", dimensions=16, max_tokens=5000, window_tokens=window)
    fake.spec = spec
    chosen = events_of(Embedder(FakeBackend(spec)), tmp_path, lines, chunk_tokens=asked)["chosen"]
    option = () if asked is None else ("--chunk-tokens", asked)
    done = run("embed", "in.jsonl", *option)
    rows = json.loads(done.stdout)["embeddings"]

    assert chosen["chunk_tokens"] == used
    assert chosen["chunks"] == len(rows) == -(-400 // (used // 4 * 4))


def torch_events(monkeypatch, backend, dtype):
    pytest.importorskip("torch", reason="the extra torch is not installed")
    from ctxembed.backends.torch import matrix_products as products

    monkeypatch.setattr(products, "peak", lambda *_: 100.0)
    told = {}
    embedder = Embedder(backend, Settings(model=backend.spec.name, dtype=dtype))
    worker._torch(embedder, [10], lambda name, **values: told.update({name: values}))
    return told


class On:
    """A model as if it were on another device."""

    def __init__(self, device) -> None:
        self.device = device


def test_every_gpu_counts_in_the_peak_and_the_fullest_in_memory(pplx_checkpoint, monkeypatch):
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    from ctxembed.backends.torch import load
    from ctxembed.backends.torch import matrix_products as products
    from ctxembed.backends.torch.backend import TorchBackend
    from ctxembed.backends.torch.model import Loaded

    backend = load(Settings(model=str(pplx_checkpoint)))
    (loaded,) = backend._loaded
    gpus = [On(torch.device("cuda", number)) for number in range(3)]
    several = [Loaded(loaded.tokenizer, gpu, type(loaded.queue)()) for gpu in gpus]
    work = products.work_of(loaded.model)
    monkeypatch.setattr(products, "work_of", lambda _: work)
    held = {None: None, 0: 5, 1: 9, 2: 7}
    monkeypatch.setattr(products, "device_memory", lambda device: held[device.index])
    both = TorchBackend(several, backend.spec, backend.limits, backend.identity)
    told = torch_events(monkeypatch, both, "float32")["done"]

    assert told["device"] == "cuda:0, cuda:1, cuda:2"
    assert told["peak"] == 300.0
    assert told["device_memory"] == 9
    assert told["operations"] == work.operations([10])
    alone = torch_events(monkeypatch, backend, "float32")["done"]
    assert (alone["device"], alone["peak"]) == ("cpu", 100.0)
    out = io.StringIO()
    show(result(changed(device_memory=9 * 2**20)), Console(file=out, width=80))
    assert "peak memory, fullest GPU" in out.getvalue()


@pytest.mark.parametrize(("dtype", "measured"), [("float32", True), ("int8", False)])
def test_products_are_announced_only_where_they_are_measured(
    pplx_checkpoint, monkeypatch, dtype, measured
):
    pytest.importorskip("torch", reason="the extra torch is not installed")
    from ctxembed.backends.torch import load

    told = torch_events(monkeypatch, load(Settings(model=str(pplx_checkpoint))), dtype)

    assert ("products" in told) == measured
    assert (told["done"]["peak"] is not None) == measured


@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_column_of_a_graph_is_called_onnx(dtype):
    plain = {"data": None, "chunk_tokens": None, "seconds": 1}
    graph = Task(settings=Settings(model="minilm", dtype=dtype), **plain)

    assert graph.name == "onnx"
    assert Task(settings=Settings(dtype="float32"), **plain).name == "float32"


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"{", "line 1: is not JSON"), ({"id": "a", "chunks": [""]}, "line 1 (id 'a'), chunk 0: ")],
)
def test_first_document_is_checked_before_any_process(run, lines, monkeypatch, line, reason):
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("started"))
    found = run("bench", "--model", "x", "--data", lines(line, {"id": "b", "text": "fine"}))

    assert found.exit_code == 2
    assert f"in.jsonl, {reason}" in found.stderr
