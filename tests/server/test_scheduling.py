"""Which windows of which requests go through the model next."""

from collections import deque
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ctxembed import Settings, TokenizedChunk, Window
from ctxembed.batches import Limits
from ctxembed.recipe import document_recipe
from ctxembed.server.scheduling import Job, batches_of, by_job, take_turn
from ctxembed.testing import FakeBackend

RECIPE = document_recipe(Settings(), FakeBackend())
OTHER_FORM = replace(RECIPE, form="binary")


def job(*counts, recipe=RECIPE):
    windows = [
        Window(
            document=0,
            first=number,
            keep=range(number, number + 1),
            chunks=(TokenizedChunk("x", count),),
            tokens=count,
        )
        for number, count in enumerate(counts)
    ]
    return Job(windows, recipe, sum(counts))


def numbers(turn, jobs):
    return [(jobs.index(ticket.job), ticket.number) for ticket in turn]


def test_requests_take_turns_window_by_window():
    jobs = [job(10, 10, 10), job(10), job(10, 10)]
    turn = take_turn(deque(jobs), Limits(batch_tokens=100))
    assert numbers(turn, jobs) == [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2)]


def test_a_turn_ends_at_the_budget_and_the_next_begins_with_who_was_left_out():
    jobs = [job(40, 40), job(40, 40), job(40)]
    waiting = deque(jobs)
    limits = Limits(batch_tokens=100)
    assert numbers(take_turn(waiting, limits), jobs) == [(0, 0), (1, 0)]
    assert numbers(take_turn(waiting, limits), jobs) == [(2, 0), (0, 1)]
    assert numbers(take_turn(waiting, limits), jobs) == [(1, 1)]


def test_a_window_beyond_the_budget_goes_alone():
    jobs = [job(500), job(10)]
    waiting = deque(jobs)
    assert numbers(take_turn(waiting, Limits(batch_tokens=100)), jobs) == [(0, 0)]


def test_forms_do_not_mix_and_alternate():
    jobs = [job(10, 90), job(10, 90, recipe=OTHER_FORM), job(10)]
    waiting = deque(jobs)
    limits = Limits(batch_tokens=50)
    assert numbers(take_turn(waiting, limits), jobs) == [(0, 0), (2, 0)]
    assert numbers(take_turn(waiting, limits), jobs) == [(1, 0)]
    assert numbers(take_turn(waiting, limits), jobs) == [(0, 1)]
    assert numbers(take_turn(waiting, limits), jobs) == [(1, 1)]


def test_abandoned_requests_drop_out():
    jobs = [job(10), job(10)]
    jobs[0].future.cancel()
    waiting = deque(jobs)
    assert numbers(take_turn(waiting, Limits(batch_tokens=100)), jobs) == [(1, 0)]
    assert take_turn(waiting, Limits(batch_tokens=100)) == []
    assert not waiting


def test_where_padding_costs_windows_of_like_length_share_a_batch():
    jobs = [job(10, 100), job(10, 100)]
    limits = Limits(batch_tokens=200, padded=True)
    batches = batches_of(take_turn(deque(jobs), limits), limits)
    assert [[t.window.tokens for t in batch] for batch in batches] == [[100, 100], [10, 10]]


@given(
    st.lists(
        st.tuples(st.lists(st.integers(1, 150), min_size=1, max_size=9), st.booleans()),
        min_size=1,
        max_size=9,
    ),
    st.booleans(),
    st.integers(1, 5),
)
def test_every_window_has_its_turn_once_within_the_limits(asked, padded, documents):
    jobs = [job(*counts, recipe=OTHER_FORM if other else RECIPE) for counts, other in asked]
    limits = Limits(batch_tokens=100, padded=padded, documents=documents)
    waiting = deque(jobs)
    seen = []
    while turn := take_turn(waiting, limits):
        for batch in batches_of(turn, limits):
            tokens = [ticket.window.tokens for ticket in batch]
            cost = max(tokens) * len(tokens) if padded else sum(tokens)
            assert len(batch) == 1 or cost <= 100
            assert len(batch) <= documents
            assert len({ticket.job.recipe.form for ticket in batch}) == 1
            seen += numbers(batch, jobs)
    assert sorted(seen) == [(j, w) for j, (c, _) in enumerate(asked) for w in range(len(c))]


@given(st.integers(1, 200), st.integers(1, 20))
def test_a_short_request_waits_for_one_round_of_the_others_at_the_most(long, others):
    """However much the others have left, each gets one window in before a newcomer's."""
    jobs = [*(job(*[30] * long) for _ in range(others)), job(30)]
    waiting = deque(jobs)
    limits = Limits(batch_tokens=60)
    before = 0
    while True:
        turn = numbers(take_turn(waiting, limits), jobs)
        if (others, 0) in turn:
            break
        before += len(turn)
    assert before <= others


def test_tickets_by_request():
    jobs = [job(10, 10), job(10)]
    turn = take_turn(deque(jobs), Limits(batch_tokens=100))
    assert [[t.number for t in share] for share in by_job(turn)] == [[0, 1], [0]]
