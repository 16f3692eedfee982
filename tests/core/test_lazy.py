"""`LazyEmbedder`: opened once, by whoever comes first, and no part of its owner's value."""

import copy
import logging
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ctxembed import Embedder, ModelLoadError, Settings
from ctxembed.lazy import LazyEmbedder
from ctxembed.testing import FakeBackend

SETTINGS = Settings(model="fake")


@pytest.fixture
def opened(monkeypatch):
    """Settings, key and thread of every opening, which gives an embedder over a fake backend."""
    found = []

    def open_(settings, *, api_key=None):
        found.append((settings, api_key, threading.current_thread()))
        return Embedder(FakeBackend(), settings)

    monkeypatch.setattr(Embedder, "open", open_)
    return found


def test_one_thread_opens_and_the_others_wait(opened):
    lazy = LazyEmbedder()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: lazy.get(SETTINGS), range(16)))

    assert len(opened) == 1
    assert all(embedder is got[0] for embedder in got)


async def test_async_use_opens_on_another_thread(opened):
    lazy = LazyEmbedder()
    embedder = await lazy.aget(SETTINGS)

    assert [thread for *_, thread in opened] != [threading.main_thread()]
    assert embedder is await lazy.aget(SETTINGS) is lazy.get(SETTINGS)
    await lazy.aclose()


def test_changed_settings_or_another_key_open_another(opened):
    lazy = LazyEmbedder()
    other = Settings(model="fake", dimensions=8)
    got = [lazy.get(SETTINGS), lazy.get(other), lazy.get(SETTINGS, "key"), lazy.get(SETTINGS)]

    assert [(settings, key) for settings, key, _ in opened] == [
        (SETTINGS, None),
        (other, None),
        (SETTINGS, "key"),
    ]
    assert got[0] is got[3]


def test_a_key_may_be_read_when_the_embedder_is_opened(opened):
    keys = iter(["first", "second"])

    def read():
        return next(keys)

    lazy = LazyEmbedder()
    assert lazy.get(SETTINGS, read) is lazy.get(SETTINGS, read)
    lazy.close()
    lazy.get(SETTINGS, read)

    assert [key for _, key, _ in opened] == ["first", "second"]


def test_closing_lets_go_and_the_next_use_opens_again(opened):
    lazy = LazyEmbedder()
    first = lazy.get(SETTINGS)
    lazy.close()
    lazy.close()

    assert first.backend.closed == 1
    assert lazy.get(SETTINGS) is not first


def test_a_failed_opening_is_tried_again(opened, monkeypatch):
    lazy = LazyEmbedder()
    with monkeypatch.context() as patch:
        patch.setattr(Embedder, "open", lambda *_, **__: (_ for _ in ()).throw(ModelLoadError("")))
        with pytest.raises(ModelLoadError):
            lazy.get(SETTINGS)

    assert lazy.get(SETTINGS) is lazy.get(SETTINGS)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda lazy: pickle.loads(pickle.dumps(lazy))])
def test_a_copy_begins_with_nothing_open(copied, opened):
    lazy = LazyEmbedder()
    first = lazy.get(SETTINGS)
    again = copied(lazy)

    assert (again, hash(again)) == (lazy, hash(lazy))
    assert again.get(SETTINGS) is not first
    assert lazy.get(SETTINGS) is first


def test_fingerprint_is_of_the_weights_in_use_and_opens_nothing(opened):
    lazy = LazyEmbedder()
    assert lazy.fingerprint(SETTINGS) == SETTINGS.fingerprint()
    assert not opened

    in_use = Embedder(FakeBackend(), SETTINGS, fingerprint="of the files that were opened")
    lazy._found[SETTINGS, None] = in_use
    assert lazy.fingerprint(SETTINGS) == "of the files that were opened"


def test_a_warning_is_said_once(caplog):
    lazy = LazyEmbedder()
    for number in (1, 2):
        lazy.warn_once(logging.getLogger("adapter"), "got %d texts", number)

    assert [record.getMessage() for record in caplog.records] == ["got 1 texts"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_during_an_opening_does_not_keep_the_child_from_opening(opened):
    lazy = LazyEmbedder()
    with lazy._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a child that waits for ever fails
            os._exit(0 if lazy.get(SETTINGS) else 1)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
