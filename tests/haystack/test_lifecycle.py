"""When a model is loaded, by whom, how often, and what is let go of."""

import asyncio
import copy
import inspect
import multiprocessing
import os
import pickle
import threading

import pytest
from haystack import Document, Pipeline
from haystack.components.embedders.types import DocumentEmbedder, TextEmbedder

from ctxembed import Embedder
from ctxembed.errors import ConfigurationError, ModelLoadError
from haystack_integrations.components.embedders.ctxembed import (
    ContextualDocumentEmbedder,
    ContextualDocumentWriter,
    ContextualTextEmbedder,
)

EMBEDDERS = [ContextualDocumentEmbedder, ContextualTextEmbedder]


@pytest.fixture
def opened(monkeypatch) -> list[object]:
    """Every embedder that was opened."""
    found, original = [], Embedder.open

    def counted(*args, **kwargs):
        found.append(original(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(Embedder, "open", counted)
    return found


@pytest.mark.parametrize("component", EMBEDDERS)
def test_making_a_component_loads_nothing(component, tmp_path, opened):
    made = component(model=str(tmp_path / "absent"), backend="torch")
    assert not opened
    with pytest.raises(ModelLoadError):
        made.warm_up()


@pytest.mark.parametrize("component", EMBEDDERS)
def test_settings_that_cannot_be_are_refused_when_they_are_given(component):
    with pytest.raises(ConfigurationError, match="context_weight"):
        component(context_weight=2)
    with pytest.raises(TypeError, match="unknown_parameter"):
        component(unknown_parameter=1)


@pytest.mark.parametrize("component", EMBEDDERS)
async def test_warming_up_twice_loads_once(component, tiny, opened):
    made = component(**tiny)
    made.warm_up()
    await made.warm_up_async()
    made.warm_up()
    assert len(opened) == 1


async def test_warming_up_does_not_block_the_event_loop(tiny, monkeypatch):
    threads = []
    original = Embedder.open
    monkeypatch.setattr(
        Embedder,
        "open",
        lambda *args, **key: threads.append(threading.current_thread()) or original(*args, **key),
    )
    await ContextualTextEmbedder(**tiny).warm_up_async()
    assert threads != [threading.main_thread()]


async def test_many_first_runs_at_once_load_once(tiny, opened):
    made = ContextualTextEmbedder(**tiny)
    found = await asyncio.gather(*(made.run_async(text="a") for _ in range(8)))
    assert len(opened) == 1
    assert all(result["embedding"] == found[0]["embedding"] for result in found)


async def test_a_load_that_failed_is_tried_again(tiny, monkeypatch):
    made, original = ContextualTextEmbedder(**tiny), Embedder.open
    with monkeypatch.context() as patch:
        patch.setattr(
            Embedder, "open", lambda *_, **__: (_ for _ in ()).throw(ModelLoadError("no"))
        )
        with pytest.raises(ModelLoadError):
            await made.run_async(text="a")
    assert Embedder.open == original
    assert made.run(text="a")["embedding"]


async def test_a_closed_component_opens_again(tiny, opened):
    made = ContextualDocumentEmbedder(**tiny, progress_bar=False)
    before = made.run([Document(content="a")])["documents"][0].embedding
    made.close()
    made.close()
    await made.close_async()
    after = (await made.run_async([Document(content="a")]))["documents"][0].embedding
    assert before == after
    assert len(opened) == 2
    await made.close_async()


async def test_closing_waits_for_a_load_without_blocking_the_event_loop(tiny, monkeypatch):
    loading, go = threading.Event(), threading.Event()
    original = Embedder.open

    def slow(*args, **kwargs):
        loading.set()
        assert go.wait(30)
        return original(*args, **kwargs)

    monkeypatch.setattr(Embedder, "open", slow)
    made = ContextualTextEmbedder(**tiny)
    opening = asyncio.create_task(made.warm_up_async())
    await asyncio.to_thread(loading.wait)
    closing = asyncio.create_task(made.close_async())
    await asyncio.sleep(0)  # the closing has begun
    assert not closing.done()
    go.set()
    await asyncio.gather(opening, closing)
    assert not made._embedder._found


@pytest.mark.parametrize("component", EMBEDDERS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_opens_the_model_for_itself(component, copied, tiny, opened):
    made = component(**tiny)
    made.warm_up()
    again = copied(made)
    assert again.to_dict() == made.to_dict()
    again.warm_up()
    made.close()
    assert len(opened) == 2
    assert again._open() is opened[1]
    again.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_during_a_load_does_not_keep_the_child_from_loading(fake):
    made = ContextualTextEmbedder()
    with made._embedder._lock:
        child = multiprocessing.get_context("fork").Process(target=made.warm_up)
        child.start()
        child.join(30)
        child.kill()
        child.join()
    assert child.exitcode == 0


def test_two_embedders_of_a_process_share_one_set_of_weights(tiny, opened):
    documents, text = ContextualDocumentEmbedder(**tiny), ContextualTextEmbedder(**tiny)
    documents.warm_up()
    text.warm_up()
    first, second = (embedder.backend for embedder in opened)
    assert first._loaded[0] is second._loaded[0]


@pytest.mark.parametrize("component", [*EMBEDDERS, ContextualDocumentWriter])
def test_run_and_run_async_take_and_give_the_same(component):
    run, run_async = component.run, component.run_async
    assert inspect.signature(run) == inspect.signature(run_async)
    assert inspect.iscoroutinefunction(run_async)


def test_the_embedders_are_what_haystack_calls_embedders(tiny):
    documents: DocumentEmbedder = ContextualDocumentEmbedder(**tiny)
    text: TextEmbedder = ContextualTextEmbedder(**tiny)
    pipeline = Pipeline()
    pipeline.add_component("documents", documents)
    pipeline.add_component("text", text)
    assert pipeline.outputs(include_components_with_connected_outputs=True).keys() == {
        "documents",
        "text",
    }


async def test_overlapping_runs_do_not_mix(tiny, texts, right):
    made = ContextualDocumentEmbedder(**tiny, progress_bar=False)
    calls = [
        [
            Document(content=text, meta={"source_id": name, "split_id": place})
            for place, text in reversed([*enumerate(siblings)])
        ]
        for name, siblings in [*texts.items()] * 3
    ]
    found = await asyncio.gather(*(made.run_async(documents=call) for call in calls))
    for documents, call in zip(found, calls, strict=True):
        assert [d.id for d in documents["documents"]] == [d.id for d in call]
        assert right(documents["documents"])
