"""One queue in front of one model: faults stay with their request, what is given up is dropped."""

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
from starlette.exceptions import HTTPException

from ctxembed import BackendError, InputError, NonFiniteError, Settings
from ctxembed.assembly import assemble_all
from ctxembed.batches import Limits
from ctxembed.planning import plan_batches, plan_documents
from ctxembed.recipe import document_recipe
from ctxembed.server.dispatcher import Dispatcher
from ctxembed.testing import FakeBackend


@pytest.fixture
def dispatching():
    """Make dispatchers over backends with the options of `FakeBackend`."""
    made = []

    def make(fault=None, most_tokens=10_000, **options):
        backend = FakeBackend(fault=fault, **options)
        observed = []
        dispatcher = Dispatcher(
            backend, most_tokens=most_tokens, observe=lambda *seen: observed.append(seen)
        )
        made.append(dispatcher)
        return backend, dispatcher, observed

    yield make
    for dispatcher in made:
        dispatcher.close(10)


def submit(backend, dispatcher, *documents, **settings):
    recipe = document_recipe(Settings(**settings), backend)
    planned = plan_documents(backend, recipe, documents)
    windows = [window for document in planned for window in document.windows]
    return planned, recipe, dispatcher.submit(windows, recipe)


def rows(asked):
    planned, recipe, future = asked
    return assemble_all(planned, future.result(20), recipe)


def test_requests_that_wait_together_go_through_the_model_together(dispatching, hold):
    backend, dispatcher, observed = dispatching(hold)
    first = submit(backend, dispatcher, ("one",))
    assert hold.entered.wait(20)
    others = [submit(backend, dispatcher, (f"a {n}", f"b {n}")) for n in range(5)]
    hold.opened.set()
    for asked in [first, *others]:
        rows(asked)
    assert [len(batch.windows) for batch in backend.batches] == [1, 5]
    assert [tokens for tokens, _ in observed] == [1, 25]


def test_each_request_gets_its_own_rows_with_its_own_dimensions_and_encoding(dispatching, hold):
    backend, dispatcher, _ = dispatching(hold)
    first = submit(backend, dispatcher, ("one",))
    assert hold.entered.wait(20)
    options = [
        {"encoding": encoding, "dimensions": dimensions}
        for encoding in ("int8", "binary", "float")
        for dimensions in (3, 16)
    ]
    asked = [
        submit(backend, dispatcher, (f"a {n}", "b"), ("c", f"d {n}"), **each)
        for n, each in enumerate(options)
    ]
    hold.opened.set()
    rows(first)
    alone = FakeBackend()
    for n, (each, one) in enumerate(zip(options, asked, strict=True)):
        recipe = document_recipe(Settings(**each), alone)
        planned = plan_documents(alone, recipe, [(f"a {n}", "b"), ("c", f"d {n}")])
        batches = plan_batches(planned, recipe, alone.limits)
        found = [row for planned_batch in batches for row in alone.embed(planned_batch.batch)]
        expected = assemble_all(planned, found, recipe)
        for got, wanted in zip(rows(one), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("error", [InputError("no"), NonFiniteError()])
def test_a_bad_window_fails_its_own_request_only(dispatching, hold, error):
    def fault(batch):
        if any("bad" in chunk.text for window in batch.windows for chunk in window.chunks):
            raise error

    hold.fault = fault
    backend, dispatcher, _ = dispatching(hold)
    first = submit(backend, dispatcher, ("one",))
    assert hold.entered.wait(20)
    asked = [submit(backend, dispatcher, ("bad" if n == 3 else f"good {n}",)) for n in range(7)]
    hold.opened.set()
    rows(first)
    for number, one in enumerate(asked):
        if number == 3:
            with pytest.raises(type(error)):
                rows(one)
        else:
            assert len(rows(one)) == 1


def test_rows_that_are_not_finite_fail_their_own_request_only(dispatching, hold):
    def fault(batch):
        found = [np.zeros((len(window.chunks), 16), np.float32) for window in batch.windows]
        for window, array in zip(batch.windows, found, strict=True):
            if window.chunks[0].text == "bad":
                array[0, 0] = np.nan
        return found

    hold.fault = fault
    backend, dispatcher, _ = dispatching(hold, forms=frozenset({"pooled"}))
    first = submit(backend, dispatcher, ("one",))
    assert hold.entered.wait(20)
    good, bad = (submit(backend, dispatcher, (text,)) for text in ("good", "bad"))
    hold.opened.set()
    rows(first)
    assert len(rows(good)) == 1
    with pytest.raises(NonFiniteError):
        rows(bad)


@pytest.mark.parametrize("error", [BackendError("broken"), RuntimeError("surprise")])
def test_a_broken_batch_fails_its_requests_and_the_next_go_on(dispatching, error):
    def fault(batch):
        if len(backend.batches) == 1:
            raise error

    backend, dispatcher, _ = dispatching(fault)
    with pytest.raises(type(error)):
        rows(submit(backend, dispatcher, ("one",)))
    assert len(rows(submit(backend, dispatcher, ("two",)))) == 1
    assert dispatcher.held == 0


def test_what_is_given_up_never_reaches_the_model(dispatching, hold):
    backend, dispatcher, _ = dispatching(hold)
    first = submit(backend, dispatcher, ("one",))
    assert hold.entered.wait(20)
    dropped, kept = (submit(backend, dispatcher, (text,)) for text in ("dropped", "kept"))
    dropped[2].cancel()
    hold.opened.set()
    rows(first)
    rows(kept)
    assert [w.chunks[0].text for w in backend.windows] == ["one", "kept"]
    assert dispatcher.held == 0


def test_what_is_given_up_while_in_the_model_harms_nobody(dispatching, hold):
    backend, dispatcher, _ = dispatching(hold)
    first = submit(backend, dispatcher, ("one",))
    assert hold.entered.wait(20)
    first[2].cancel()
    hold.opened.set()
    assert len(rows(submit(backend, dispatcher, ("two",)))) == 1


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(dispatching, hold):
    backend, dispatcher, _ = dispatching(hold, most_tokens=10)
    first = submit(backend, dispatcher, ("a b c d e f",))
    assert hold.entered.wait(20)
    with pytest.raises(HTTPException) as caught:
        submit(backend, dispatcher, ("g h i j k",))
    assert caught.value.status_code == 429
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    second = submit(backend, dispatcher, ("g h i j",))
    hold.opened.set()
    rows(first)
    rows(second)


def test_an_idle_model_takes_a_request_that_is_larger_than_the_queue(dispatching):
    backend, dispatcher, _ = dispatching(most_tokens=3)
    assert len(rows(submit(backend, dispatcher, ("a b c d e f",)))) == 1


def test_closing_gives_up_what_waits_and_takes_no_more(dispatching, hold):
    backend, dispatcher, _ = dispatching(hold)
    first = submit(backend, dispatcher, ("one",))
    assert hold.entered.wait(20)
    second = submit(backend, dispatcher, ("two",))
    closing = threading.Thread(target=dispatcher.close)
    closing.start()
    with pytest.raises(CancelledError):
        rows(second)
    hold.opened.set()
    closing.join(20)
    with pytest.raises(HTTPException, match="shutting down"):
        submit(backend, dispatcher, ("three",))
    assert len(rows(first)) == 1


def test_a_long_request_does_not_starve_short_ones(dispatching, hold):
    backend, dispatcher, _ = dispatching(hold, limits=Limits(batch_tokens=20))
    first = submit(backend, dispatcher, ("one",))
    assert hold.entered.wait(20)
    long = submit(backend, dispatcher, *[(f"long document {n}",) for n in range(300)])
    short = submit(backend, dispatcher, ("short",))
    hold.opened.set()
    rows(short)
    rows(first)
    rows(long)
    texts = [w.chunks[0].text for w in backend.windows]
    assert texts.index("short") < 5
    assert len(texts) == 302
