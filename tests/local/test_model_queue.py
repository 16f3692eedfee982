"""One model for all that ask for it, entered by one thread at a time."""

import asyncio
import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ctxembed.backends.model_queue import ModelQueue
from ctxembed.backends.weight_cache import get_or_load
from ctxembed.errors import BackendError


class Weights:
    """Something that can be referred to weakly."""


def test_one_thread_at_a_time_whoever_asks():
    queue = ModelQueue()
    inside = []

    def work(number):
        inside.append(number)
        seen = list(inside)
        time.sleep(0.001)
        inside.remove(number)
        return seen, threading.current_thread().name

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: queue.run(work, number), range(40)))
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
    first = asyncio.create_task(queue.arun(go.wait, 5))
    second = asyncio.create_task(queue.arun(ran.append, 1))
    await asyncio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    go.set()
    assert await first
    assert queue.run(len, ran) == 0


def test_a_closed_queue_says_so():
    queue = ModelQueue()
    queue.close()
    queue.close()
    with pytest.raises(BackendError, match="closed"):
        queue.run(len, ())


def test_the_thread_ends_when_nothing_refers_to_the_queue():
    queue = ModelQueue("passing")
    queue.run(len, ())
    del queue
    gc.collect()
    deadline = time.monotonic() + 5
    while any("passing" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_child_of_a_fork_gets_threads_of_its_own():
    queue = ModelQueue()
    queue.run(len, ())
    child = os.fork()
    if child == 0:
        os._exit(queue.run(len, "seven"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


def test_the_same_key_shares_while_someone_holds_it_and_loads_anew_after():
    loads = []

    def load():
        loads.append(1)
        time.sleep(0.01)
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
