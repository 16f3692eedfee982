"""`ctxembed doctor`: what it reads of a machine, and what it advises."""

from importlib.metadata import version

import pytest

from ctxembed.cli import doctor, machine, speed
from ctxembed.cli.speed import Speeds

CPUINFO = """processor\t: 0
model name\t: AMD EPYC 9R45
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16
"""
MEMINFO = "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\nHugePages_Total:       0\n"
FAST = Speeds(threads=4, linear=100.0, onednn=240.0, bfloat16=480.0)


def test_processor_and_its_instructions():
    assert machine.cpu_model(CPUINFO) == "AMD EPYC 9R45"
    assert machine.cpu_flags(CPUINFO) == ["avx2", "avx512f", "avx512_vnni", "avx512_bf16"]
    assert machine.cpu_flags("Features : asimd bf16") == ["asimd", "bf16"]
    assert machine.cpu_flags("") == []


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
    ],
)
def test_quota_of_either_kind_of_control_group(tmp_path, files, quota):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")

    assert machine.core_quota(tmp_path) == quota


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
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "rich" else "1.2")
    monkeypatch.setattr(machine, "core_quota", lambda cgroup: 2.0)
    out = run("doctor").stdout

    assert "  torch                   1.2\n" in out
    assert "100 GFLOP/s, through oneDNN 240 GFLOP/s" in out
    assert "H200, 141 GiB" in out
    assert "  on the CPU, --dtype bfloat16 pays" in out
    assert "4 threads on a quota of 2 cores: set OMP_NUM_THREADS=2" in out
    assert 'this command line: python -m pip install "ctxembed[cli]" (missing: rich)' in out


def test_report_without_torch_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else "1.2")
    monkeypatch.setattr(speed, "measure_cpu", lambda: pytest.fail("measured"))
    out = run("doctor").stdout

    assert "not measured            that needs torch" in out
    assert 'python -m pip install "ctxembed[torch]" (missing: torch)' in out


def test_version_is_that_of_the_installed_library():
    assert doctor._version("numpy") == version("numpy")
    assert doctor._version("no-such-library") is None


def test_speed_is_measured():
    pytest.importorskip("torch")
    found = speed.measure_cpu()

    assert found.threads >= 1
    assert min(found.linear, found.bfloat16) > 0
