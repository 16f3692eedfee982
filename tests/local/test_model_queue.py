"""One model for all that ask for it, entered by one thread at a time."""

import asyncio
import gc
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ctxembed.backends.model_queue import ModelQueue
from ctxembed.backends.weight_cache import get_or_load
from ctxembed.errors import BackendError


class Weights:
    """Something that can be referred to weakly."""


async def test_one_thread_at_a_time_whoever_asks():
    """All ask while the first is inside."""
    queue = ModelQueue()
    everyone_asked = threading.Event()
    inside = []

    def work(number):
        inside.append(number)
        assert everyone_asked.wait(30)
        seen = list(inside)
        inside.remove(number)
        return seen, threading.current_thread().name

    with ThreadPoolExecutor(8) as pool:
        in_threads = [pool.submit(lambda n=n: queue.submit(work, n).result()) for n in range(8)]
        in_tasks = [asyncio.create_task(queue.arun(work, number)) for number in range(8, 40)]
        await asyncio.sleep(0)  # every task has asked
        everyone_asked.set()
        results = [*map(Future.result, in_threads), *await asyncio.gather(*in_tasks)]
    assert [seen for seen, _ in results] == [[number] for number in range(40)]
    assert len({name for _, name in results}) == 1


async def test_the_event_loop_runs_on_and_errors_arrive():
    queue = ModelQueue()
    started = threading.Event()

    def fail():
        started.wait(5)
        raise BackendError("no")

    task = asyncio.create_task(queue.arun(fail))
    await asyncio.sleep(0)
    started.set()
    with pytest.raises(BackendError, match="no"):
        await task
    assert await queue.arun(max, 1, 2) == 2


async def test_what_is_cancelled_in_the_queue_never_starts():
    queue = ModelQueue()
    go = threading.Event()
    ran = []
    first = asyncio.create_task(queue.arun(go.wait, 30))
    second = asyncio.create_task(queue.arun(ran.append, 1))
    await asyncio.sleep(0)  # both have asked
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go.set()
    assert await first
    assert queue.submit(len, ran).result() == 0


def test_a_closed_queue_says_so():
    queue = ModelQueue()
    queue.close()
    queue.close()
    with pytest.raises(BackendError, match="closed"):
        queue.submit(len, ()).result()


def test_the_thread_ends_when_nothing_refers_to_the_queue():
    queue = ModelQueue("passing")
    thread = queue.submit(threading.current_thread).result()
    assert "passing" in thread.name
    del queue
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_child_of_a_fork_gets_threads_of_its_own():
    queue = ModelQueue()
    queue.submit(len, ()).result()
    child = os.fork()
    if child == 0:
        os._exit(queue.submit(len, "seven").result())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


class TellingLock:
    """A lock that tells when so many threads have come to it."""

    def __init__(self, count):
        self.everyone_asked = threading.Event()
        self._asked = iter(range(count - 1))
        self._lock = threading.Lock()

    def __enter__(self):
        if next(self._asked, None) is None:
            self.everyone_asked.set()
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


def test_the_same_key_shares_while_someone_holds_it_and_loads_anew_after(monkeypatch):
    """The first load goes on until all four have come to the lock."""
    loads, lock = [], TellingLock(4)
    monkeypatch.setattr("ctxembed.backends.weight_cache._LOCK", lock)

    def load():
        loads.append(1)
        assert lock.everyone_asked.wait(30)
        return Weights()

    with ThreadPoolExecutor(4) as pool:
        held = list(pool.map(lambda _: get_or_load("key", load), range(4)))
    assert len({id(weights) for weights in held}) == len(loads) == 1
    other = get_or_load("other", load)
    assert other is not held[0]
    held.clear()
    gc.collect()
    assert get_or_load("key", load) is not None
    assert len(loads) == 3


def test_a_load_that_fails_leaves_nothing_behind():
    def fail():
        raise BackendError("no")

    with pytest.raises(BackendError):
        get_or_load("failing", fail)
    assert isinstance(get_or_load("failing", Weights), Weights)
