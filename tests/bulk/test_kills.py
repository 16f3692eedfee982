"""Runs that are killed, at named points and at random ones: every row exactly once, always.

A named point is a call that the process makes; the program stops there, says so, and is killed.
"""

import os
import random
import time

import pytest
from bulk_files import contents, documents, expected, write_lines

COUNT, SHARD = 60, 10
LARGEST = 20
"""More than the largest of the shards of about ten documents that these ids fall into."""

STOP = """
import os, pathlib, shutil, time

made, left = {owner}.{name}, {after}

def stop(*given, **named):
    global left
    if not any({part!r} in str(each) for each in given):
        return made(*given, **named)
    left -= 1
    if left >= 0:
        return made(*given, **named)
    if {late}:
        made(*given, **named)
    os.close(os.open({signal!r}, os.O_CREAT))
    while True:
        time.sleep(1)

{owner}.{name} = stop
"""

POINTS = {
    "own folder made": ("pathlib.Path", "mkdir", "/tmp/", 0, True),
    "before the manifest": ("os", "link", "ctxembed.json", 0, False),
    "after the manifest": ("os", "link", "ctxembed.json", 0, True),
    "before a shard is on disk": ("os", "fsync", "", 3, False),
    "before a shard is in place": ("pathlib.Path", "replace", "part-", 1, False),
    "after a shard is in place": ("pathlib.Path", "replace", "part-", 1, True),
    "after the last shard": ("shutil", "rmtree", "", 0, False),
}
"""What a process calls, with which argument, how many calls go by, whether it is done first."""


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "in.jsonl", documents(COUNT))


def options(workers=1):
    return ("embed", "in.jsonl", "-o", "vectors", "--shard-documents", SHARD, "--workers", workers)


def wait_for(condition, process):
    """Wait for something that a process does; tell whether it came before its end."""
    while not condition():
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def kill(process):
    os.killpg(process.pid, 9)
    process.wait()


def finished(process):
    """Wait for a run that has to end well."""
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()


def check(root, *versions):
    """What a reader sees now is right, though it may not be all."""
    if (root / "data").is_dir() and any((root / "data").iterdir()):
        whole = {}
        for version in versions:
            for key, value in expected(version).items():
                whole.setdefault(key, []).append(value)
        for key, value in contents(root).items():
            assert value in whole[key]


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "point",
    [
        "before a shard is in place",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in POINTS
            if name != "before a shard is in place"
        ),
    ],
)
def test_run_that_is_killed_at_a_point_is_completed(
    start, counted, source, tmp_path, point, workers
):
    signal = tmp_path / "stopped"
    names = dict(zip(("owner", "name", "part", "after", "late"), POINTS[point], strict=True))
    first = start(*options(workers), more=STOP.format(**names, signal=str(signal)))
    assert wait_for(signal.exists, first), first.stderr.read()
    kill(first)
    check(tmp_path / "vectors", documents(COUNT))
    finished(start(*options(workers)))

    assert contents(tmp_path / "vectors") == expected(documents(COUNT))
    assert list((tmp_path / "vectors/tmp").iterdir()) == []
    assert counted() <= COUNT + workers * LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_run_that_is_killed_at_any_moment_is_completed(
    start, counted, source, tmp_path, seed, workers
):
    chance = random.Random(seed)
    root = tmp_path / "vectors"
    first = start(*options(workers), seconds=0.05)
    wait_for((root / "lock").exists, first)
    time.sleep(chance.uniform(0, 1.2))
    kill(first)
    check(root, documents(COUNT))
    finished(start(*options(workers)))

    assert contents(root) == expected(documents(COUNT))
    assert list((root / "tmp").iterdir()) == []
    assert counted() <= COUNT + workers * LARGEST


def update():
    """Documents of which some are edited, some added in front and some gone."""
    old = documents(COUNT)
    return documents(5, start=500) + documents(10, version=1) + old[10:50]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_update_that_is_killed_never_shows_a_wrong_row(
    start, counted, source, tmp_path, seed, workers
):
    root = tmp_path / "vectors"
    finished(start(*options()))
    before = counted()
    write_lines(source, update())
    chance = random.Random(seed)
    shards = {path: path.stat().st_mtime_ns for path in (root / "data").iterdir()}

    def begun():
        return any(path.stat().st_mtime_ns != time_ for path, time_ in shards.items())

    first = start(*options(workers), "--prune", seconds=0.05)
    wait_for(begun, first)
    time.sleep(chance.uniform(0, 0.3))
    if first.poll() is None:
        kill(first)
    check(root, documents(COUNT), update())
    finished(start(*options(workers), "--prune"))

    assert contents(root) == expected(update())
    assert counted() - before <= 15 + workers * LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.1, 0.3])
def test_workers_end_when_the_process_that_started_them_is_killed(
    start, counted, source, tmp_path, moment
):
    root = tmp_path / "vectors"
    first = start(*options(3), seconds=0.05)
    wait_for(lambda: any((root / "data").glob("part-*")), first)
    time.sleep(moment)
    first.kill()
    first.wait()
    finished(start(*options(3)))

    assert contents(root) == expected(documents(COUNT))
    assert counted() <= COUNT + 3 * LARGEST
    wait_for_no_process(first.pid)


def wait_for_no_process(group):
    """Wait until no process of a group is left."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)


@pytest.mark.slow
def test_worker_that_is_killed_ends_the_run_and_the_next_one_completes_it(start, source, tmp_path):
    root = tmp_path / "vectors"
    first = start(*options(3), seconds=0.05)
    wait_for(lambda: any((root / "data").glob("part-*")), first)
    workers = [int(path.name) for path in (tmp_path / "counts").iterdir()]
    os.kill(workers[0], 9)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 2
    assert b"ended with exit code -9" in err
    check(root, documents(COUNT))
    finished(start(*options(3)))

    assert contents(root) == expected(documents(COUNT))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("attempt", range(4))
def test_same_run_twice_at_once_shares_the_work(
    start, counted, source, tmp_path, workers, attempt
):
    runs = [start(*options(workers), seconds=0.02) for _ in range(2)]
    for each in runs:
        finished(each)

    assert contents(tmp_path / "vectors") == expected(documents(COUNT))
    assert counted() == COUNT
    assert list((tmp_path / "vectors/tmp").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(4))
def test_two_inputs_at_once_both_arrive(start, source, tmp_path, attempt):
    more = documents(COUNT, start=200)
    finished(start(*options()))
    write_lines(tmp_path / "more.jsonl", more)
    changed = documents(COUNT, version=1)
    write_lines(source, changed)
    others = ("embed", "more.jsonl", *options()[2:])
    for each in [start(*options(), seconds=0.01), start(*others, seconds=0.01)]:
        finished(each)

    assert contents(tmp_path / "vectors") == expected(changed + more)


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(10))
def test_two_settings_at_once_are_never_mixed(start, source, tmp_path, attempt):
    runs = [start(*options(), *given) for given in ([], ["--encoding", "binary"])]
    ends = [each.wait(60) for each in runs]

    assert sorted(ends) == [0, 2]
    values = {value for _, row in contents(tmp_path / "vectors").values() for value in row}
    assert (values <= {-1, 1}) == (ends[1] == 0)
    assert len(contents(tmp_path / "vectors")) == 2 * COUNT


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("after", [0, 1])
def test_resharding_that_is_killed_loses_nothing(start, counted, source, tmp_path, after, late):
    root = tmp_path / "vectors"
    write_lines(source, documents(10))
    finished(start(*options()))
    write_lines(source, documents(COUNT))
    finished(start(*options()))
    signal = tmp_path / "stopped"
    names = {"owner": "pathlib.Path", "name": "rename", "part": "/tmp/", "after": after}
    stop = STOP.format(**names, late=late, signal=str(signal))
    first = start(*options(), "--reshard", more=stop)
    assert wait_for(signal.exists, first), first.stderr.read()
    kill(first)
    check(root, documents(COUNT))
    finished(start(*options(), "--reshard"))

    assert contents(root) == expected(documents(COUNT))
    assert len(list((root / "data").iterdir())) == COUNT // SHARD
    assert counted() == COUNT
