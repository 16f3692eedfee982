"""`ctxembed doctor`: what it reads of a machine, and what it advises."""

from importlib.metadata import version

import pytest

from ctxembed import machine
from ctxembed.backends import threads
from ctxembed.cli import processor_speed as speed
from ctxembed.cli.processor_speed import Speeds

CPUINFO = """processor\t: 0
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC 9R45
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16
"""
MEMINFO = "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\nHugePages_Total:       0\n"
FAST = Speeds(threads=4, linear=100.0, onednn=240.0, bfloat16=480.0)


def test_processor_and_its_instructions():
    assert machine.cpu_model(CPUINFO) == "AMD EPYC 9R45 (family 26 model 2)"
    assert machine.cpu_model("model name : Neoverse-V2") == "Neoverse-V2"
    assert machine.cpu_flags(CPUINFO) == ["avx2", "avx512f", "avx512_vnni", "avx512_bf16"]
    assert machine.cpu_flags("Features : asimd bf16") == ["asimd", "bf16"]
    assert machine.cpu_flags("") == []


def test_memory_is_no_more_than_the_control_group_allows(tmp_path):
    assert machine.memory_gib(MEMINFO, tmp_path) == (16.0, 8.0)
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory_gib(MEMINFO, tmp_path) == (16.0, 8.0)
    (tmp_path / "memory.max").write_text(f"{4 * 2**30}\n")
    (tmp_path / "memory.current").write_text(f"{3 * 2**30}\n")
    assert machine.memory_gib(MEMINFO, tmp_path) == (4.0, 1.0)
    assert machine.memory_gib("", tmp_path) is None


def test_advice_follows_the_faster_float32():
    assert FAST.advice == "--dtype bfloat16 pays: products run at 2.0 times float32's speed"
    slow = Speeds(threads=4, linear=100.0, onednn=None, bfloat16=30.0)
    assert slow.advice == "stay with float32: bfloat16 products run at 0.3 times its speed"


def test_report_has_versions_machine_and_speed(run, monkeypatch):
    monkeypatch.setattr(speed, "measure_cpu", lambda: FAST)
    monkeypatch.setattr(speed, "gpus", lambda: ["H200, 141 GiB"])
    monkeypatch.setattr(machine, "installed", lambda name: None if name == "rich" else "1.2")
    out = run("doctor").stdout

    assert "  torch                   1.2\n" in out
    assert "100 GFLOP/s, through oneDNN 240 GFLOP/s; a model takes the faster\n" in out
    assert "H200, 141 GiB" in out
    assert "  on the CPU, --dtype bfloat16 pays" in out
    assert 'this command line: python -m pip install "ctxembed[cli]" (missing: rich)' in out


def test_models_that_are_here_and_a_key_are_told(run, monkeypatch, tmp_path):
    monkeypatch.setattr(speed, "measure_cpu", lambda: FAST)
    monkeypatch.setattr(speed, "gpus", list)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("PERPLEXITY_API_KEY", raising=False)
    (tmp_path / "models--perplexity-ai--pplx-embed-v1-4b" / "snapshots").mkdir(parents=True)
    assert "key for the API         none is set\n" in run("doctor").stdout
    monkeypatch.setenv("PPLX_API_KEY", "secret")
    out = run("doctor").stdout

    assert "  pplx-embed-v1-4b        in the cache of the hub\n" in out
    assert "  pplx-embed-v1-0.6b      not here yet\n" in out
    assert "key for the API         in PPLX_API_KEY\n" in out
    assert "secret" not in out


@pytest.mark.parametrize(
    ("told", "line", "advised"),
    [
        ("", "  threads                 2 (a quota of 1.5 cores' time)\n", False),
        ("2", "  threads                 2 (OMP_NUM_THREADS)\n", False),
        ("64", "  threads                 64 (OMP_NUM_THREADS)\n", True),
    ],
)
def test_report_has_the_number_of_threads_and_why(run, monkeypatch, told, line, advised):
    monkeypatch.setattr(threads, "cores", lambda: 64)
    monkeypatch.setattr(threads, "core_quota", lambda *_: 1.5)
    monkeypatch.setattr(speed, "measure_cpu", lambda: FAST)
    monkeypatch.setattr(speed, "gpus", list)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    out = run("doctor").stdout
    advice = "asks for 64 threads, and there is time for 2 (a quota of 1.5 cores' time): unset it"

    assert line in out
    assert "  cores                   64, of which 1.5 by quota\n" in out
    assert (advice in out) == advised


@pytest.mark.parametrize(
    ("told", "advised"), [("x", "x"), ("0", "0"), ("-2", "-2"), (" ", None), ("3,1", None)]
)
def test_number_of_threads_that_is_none_is_said_to_be_ignored(run, monkeypatch, told, advised):
    monkeypatch.setattr(speed, "measure_cpu", lambda: FAST)
    monkeypatch.setattr(speed, "gpus", list)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    out = run("doctor").stdout
    line = f"  OMP_NUM_THREADS={advised!r} is not a number of threads and is ignored\n"

    assert (line in out) == (advised is not None)
    assert ("is ignored" in out) == (advised is not None)


@pytest.mark.parametrize(("number", "line"), [(8, "4 (torch's own limit)"), (4, "4")])
def test_fewer_threads_of_torch_have_a_reason(run, monkeypatch, number, line):
    monkeypatch.setattr(speed, "measure_cpu", lambda: FAST)
    monkeypatch.setattr(speed, "gpus", list)
    monkeypatch.setenv("OMP_NUM_THREADS", str(number))
    _, speeds = run("doctor").stdout.split("\nSpeed\n")

    assert speeds.startswith(f"  threads                 {line}\n")


def test_torch_without_onednn_is_said_to_have_none(run, monkeypatch):
    slow = Speeds(threads=4, linear=100.0, onednn=None, bfloat16=30.0)
    monkeypatch.setattr(speed, "measure_cpu", lambda: slow)
    monkeypatch.setattr(speed, "gpus", list)

    assert "100 GFLOP/s, this torch has no oneDNN\n" in run("doctor").stdout


def test_report_without_torch_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setattr(machine, "installed", lambda name: None if name == "torch" else "1.2")
    monkeypatch.setattr(speed, "measure_cpu", lambda: pytest.fail("measured"))
    out = run("doctor").stdout

    assert "not measured            that needs torch" in out
    assert 'python -m pip install "ctxembed[torch]" (missing: torch)' in out


def test_version_is_that_of_the_installed_library():
    assert machine.installed("numpy") == version("numpy")
    assert machine.installed("no-such-library") is None


def test_speed_is_measured():
    pytest.importorskip("torch")
    found = speed.measure_cpu()

    assert found.threads >= 1
    assert min(found.linear, found.bfloat16) > 0
