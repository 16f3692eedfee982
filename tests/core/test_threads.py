"""The number of threads, from made-up control groups, affinity and the usual variable."""

import os

import pytest

from ctxembed.backends.threads import Threads, allowed, core_quota

V1 = "4:memory:/docker/ab\n3:cpuset:/\n2:cpu,cpuacct:/docker/ab\n1:name=systemd:/\n0::/\n"


@pytest.fixture
def groups(tmp_path):
    """Write control groups' files under a folder, and beside it the process's list of groups."""

    def write(files, own):
        for name, text in files.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        (tmp_path / "own").write_text(own)
        return {"groups": tmp_path / "groups", "own": tmp_path / "own"}

    return write


@pytest.mark.parametrize(
    ("files", "own", "quota"),
    [
        ({}, "", None),
        ({"cpu.max": "max 100000"}, "0::/\n", None),
        ({"cpu.max": "150000 100000"}, "0::/\n", 1.5),
        ({"cpu.max": "200000 100000"}, "", 2.0),
        (
            {"a.slice/b/cpu.max": "max 100000", "a.slice/cpu.max": "300000 100000"},
            "0::/a.slice/b\n",
            3,
        ),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"a/b/cpu.max": "100000 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 1),
        ({"cpu.max": "200000 100000"}, "0::/not/mounted/here\n", 2),
        ({"cpu.max": "200000 100000"}, "0::/../elsewhere\n", 2),
        ({"other/cpu.max": "100000 100000"}, "0::/mine\n", None),
        ({"cpu.max": "nonsense"}, "0::/\n", None),
        ({"cpu.max": "100000 0"}, "0::/\n", None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, V1, None),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, V1, 2.5),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "", 2.5),
        (
            {
                "cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "50000",
                "cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000",
            },
            V1,
            0.5,
        ),
    ],
)
def test_quota_of_either_kind_of_control_group(groups, files, own, quota):
    assert core_quota(**groups(files, own)) == quota


@pytest.mark.parametrize(
    ("limit", "usable", "threads"),
    [
        ("200000", 64, Threads(2, "a quota of 2 cores' time")),
        ("150000", 64, Threads(2, "a quota of 1.5 cores' time")),
        ("10000", 64, Threads(1, "a quota of 0.1 cores' time")),
        ("6400000", 3, Threads(3, "affinity to 3 of 64 cores")),
        ("max", 3, Threads(3, "affinity to 3 of 64 cores")),
        ("max", 64, Threads(64, "all cores")),
    ],
)
def test_threads_are_the_lesser_of_quota_and_affinity(groups, monkeypatch, limit, usable, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    files = groups({"cpu.max": f"{limit} 100000"}, "0::/\n")

    assert allowed({}, usable=usable, **files) == threads


@pytest.mark.parametrize(
    ("told", "number"),
    [("3", 3), ("96", 96), (" 4 ", 4), ("5,2", 5), ("0", 2), ("many", 2), ("", 2)],
)
def test_the_usual_variable_has_the_last_word(groups, told, number):
    files = groups({"cpu.max": "200000 100000"}, "0::/\n")

    assert allowed({"OMP_NUM_THREADS": told}, usable=64, **files).number == number


def test_threads_are_those_of_this_machine_by_default(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    assert 1 <= allowed().number <= os.cpu_count()
