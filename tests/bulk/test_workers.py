"""Workers: several processes give the rows of one, and each has its share of the machine."""

import json
import os

import pytest
from bulk_files import contents, documents, expected, write_lines

from ctxembed import ConfigurationError, Settings
from ctxembed.backends.threads import VARIABLE
from ctxembed.bulk import workers
from ctxembed.bulk.workers import worker_settings


def test_two_workers_give_the_rows_of_one(start, counted, tmp_path):
    write_lines(tmp_path / "in.jsonl", documents(40))
    run = start("embed", "in.jsonl", "-o", "vectors", "--workers", 2, "--shard-documents", 5)
    _, err = run.communicate(timeout=120)

    assert run.returncode == 0, err.decode()
    assert contents(tmp_path / "vectors") == expected(documents(40))
    assert counted() == 40
    assert len(list((tmp_path / "counts").iterdir())) <= 2
    manifest = json.loads((tmp_path / "vectors/ctxembed.json").read_text())
    assert json.loads(manifest["origin"]["ctxembed.settings"])["device"] is None


def test_error_of_a_worker_ends_the_run_as_one_line(start, tmp_path):
    write_lines(tmp_path / "in.jsonl", [*documents(4), {"id": "long", "chunks": ["x " * 1001]}])
    run = start("embed", "in.jsonl", "-o", "vectors", "--workers", 2)
    _, err = run.communicate(timeout=120)

    assert run.returncode == 2
    assert err.decode().startswith("error: in.jsonl, line 5 (id 'long'), chunk 0: has 1001 tokens")
    assert list((tmp_path / "vectors/tmp").iterdir()) == []


def test_one_worker_has_the_settings_as_they_are():
    assert worker_settings(Settings(device="cuda:1"), 1) == [Settings(device="cuda:1")]


@pytest.mark.parametrize("settings", [Settings(model="minilm"), Settings(device="cpu")])
def test_workers_on_a_processor_have_the_same_settings(settings):
    assert worker_settings(settings, 3) == [settings] * 3


@pytest.mark.parametrize(("device", "gpus"), [(None, 3), ("cuda:*", 2)])
def test_each_worker_has_a_gpu_of_its_own(monkeypatch, device, gpus):
    monkeypatch.setattr(workers, "_gpus", lambda _: gpus)
    found = worker_settings(Settings(device=device), 2)

    assert [each.device for each in found] == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(("device", "gpus"), [(None, 1), ("cuda", 1), ("cuda:1", 0)])
def test_more_workers_than_gpus_are_refused(monkeypatch, device, gpus):
    monkeypatch.setattr(workers, "_gpus", lambda _: gpus)
    with pytest.raises(ConfigurationError, match="there are 2 workers for 1 GPU"):
        worker_settings(Settings(device=device), 2)


@pytest.mark.parametrize(("before", "inside"), [("7", "2"), (None, None)])
def test_threads_are_shared_out_among_workers(monkeypatch, before, inside):
    monkeypatch.delenv(VARIABLE, raising=False)
    if before:
        monkeypatch.setenv(VARIABLE, before)
    with workers._shared_threads(3):
        assert inside in (None, os.environ[VARIABLE])
        assert int(os.environ[VARIABLE]) >= 1

    assert os.environ.get(VARIABLE) == before
