"""Live objects: refused values, pickles, forks, threads, tasks, cancelled calls."""

import asyncio
import copy
import os
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from ctxembed import ConfigurationError, Embedder
from llama_index.embeddings.ctxembed import ContextualEmbedding, ContextualNodeParser


class Unpicklable(BaseRateLimiter):
    def __init__(self):
        self.lock = threading.Lock()

    def acquire(self, num_tokens=0):
        pass

    async def async_acquire(self, num_tokens=0):
        pass


def watched():
    """Return a callback manager that can't be pickled, and its handler."""
    handler = LlamaDebugHandler(print_trace_on_end=False)
    handler.lock = threading.Lock()
    return CallbackManager([handler]), handler


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("dimensions", 0), ("encoding", "binary"), ("context_weight", 3), ("empty", "skip")],
)
def test_a_refused_value_leaves_the_model_as_it_was(fake, name, wrong):
    given = ContextualEmbedding(model_name="fake")
    before = given.to_dict()
    with pytest.raises(ValueError, match=name if name != "encoding" else "normalize"):
        setattr(given, name, wrong)
    assert given.to_dict() == before
    assert len(given.get_query_embedding("a")) > 1


def test_pickling_takes_nothing_off_the_model_or_the_parser(fake):
    manager, handler = watched()
    given = ContextualEmbedding(
        model_name="fake",
        api_key="pplx-secret-4",
        callback_manager=manager,
        rate_limiter=Unpicklable(),
    )
    parser = ContextualNodeParser(embed_model=given, callback_manager=manager)
    again = pickle.loads(pickle.dumps(parser))
    assert again.embed_model.to_dict() == given.to_dict()
    assert given.api_key.get_secret_value() == "pplx-secret-4"
    assert isinstance(given.rate_limiter, Unpicklable)
    assert given.callback_manager is manager is parser.callback_manager
    given([TextNode(text="a")])
    assert len(handler.get_event_pairs(CBEventType.EMBEDDING)) == 1


def test_a_parser_that_cannot_be_pickled_is_named_and_not_replaced_by_the_default():
    class Local(SentenceSplitter):
        pass

    parser = ContextualNodeParser(inner=Local(chunk_size=32, chunk_overlap=0))
    with pytest.raises(ConfigurationError, match=r"inner \(Local\) cannot be pickled"):
        pickle.dumps(parser)
    assert type(parser.inner) is Local
    assert type(copy.deepcopy(parser).inner) is Local


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_opens_the_model_does_not_hang_the_child(monkeypatch, fake):
    given = ContextualEmbedding(model_name="fake")
    began, may_go_on = threading.Event(), threading.Event()
    parent, fast = os.getpid(), Embedder.open

    def slow_in_the_parent(*settings, **keywords):
        if os.getpid() == parent:
            began.set()
            may_go_on.wait(30)
        return fast(*settings, **keywords)

    monkeypatch.setattr(Embedder, "open", slow_in_the_parent)
    thread = threading.Thread(target=given.get_query_embedding, args=("a",))
    thread.start()
    assert began.wait(30)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            given.get_query_embedding("a")
            status = 0
        finally:
            os._exit(status)
    try:
        assert exit_status(child) == 0
    finally:
        may_go_on.set()
        thread.join()


def exit_status(child):
    """Return how a process ended, or -9 where it had to be ended after 20 seconds."""
    guard = threading.Timer(20, os.kill, (child, 9))
    guard.start()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        guard.cancel()


def test_threads_and_tasks_get_the_vectors_of_their_documents(embedding, parser, documents, check):
    given = copy.deepcopy(embedding)

    def shuffled(seed):
        return random.Random(seed).sample(copy.deepcopy(documents), len(documents))

    def in_a_thread(seed):
        mine = shuffled(seed)
        check(given(parser(mine)), mine)

    async def in_a_task(seed):
        mine = shuffled(seed)
        check(await given.acall(await parser.acall(mine)), mine)

    async def tasks(seeds):
        await asyncio.gather(*map(in_a_task, seeds))

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(in_a_thread, seed) for seed in range(2)]
        running += [pool.submit(asyncio.run, tasks([seed, seed + 1])) for seed in (2, 4)]
        for each in running:
            each.result(timeout=120)


async def test_a_cancelled_call_ends_its_callbacks_and_leaves_the_nodes(fake):
    manager, handler = watched()
    began = asyncio.Event()

    async def endless(_):
        began.set()
        await asyncio.Event().wait()

    fake.aembed = endless
    given = ContextualEmbedding(model_name="fake", callback_manager=manager)
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="x")}
    nodes = [TextNode(text="a", relationships=source), TextNode(text="b", relationships=source)]
    task = asyncio.create_task(given.acall(nodes))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [len(pair) for pair in handler.get_event_pairs(CBEventType.EMBEDDING)] == [2]
    assert all(node.embedding is None for node in nodes)
