"""Windows and batches: never over a limit, never reordered, every chunk exactly once."""

from dataclasses import replace
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ctxembed import ConfigurationError, DocumentTooLongError, ModelSpec, Settings
from ctxembed.batches import LEAST_WASTE, MOST_WASTE, Limits, pack
from ctxembed.documents import TokenizedChunk
from ctxembed.windows import Layout, layout_for, plan_windows, spans

COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=40)
SPEC = ModelSpec(name="m", dimensions=8, max_tokens=100, window_tokens=40)


def layout(**changes):
    """A layout of small numbers."""
    values = {
        "max_tokens": 100,
        "window_tokens": 20,
        "overlap_tokens": 8,
        "context_weight": 1.0,
        "neighbour_weight": 0.0,
        "separator_tokens": 1,
    }
    return Layout(**(values | changes))


def chunks_of(counts):
    return [TokenizedChunk(f"c{n}", count, range(count)) for n, count in enumerate(counts)]


def test_a_document_that_fits_is_one_window():
    """Four chunks of 4 and three separators are 19 tokens."""
    assert [(0, 4, range(4))] == [
        (s.start, s.stop, s.keep) for s in spans([4, 4, 4, 4], window_tokens=19, overlap_tokens=8)
    ]


def test_windows_by_hand():
    """Windows of 3 chunks sharing 1: the shared chunk is as far from both cuts, ties go first."""
    found = spans([4] * 7, window_tokens=14, overlap_tokens=4)

    assert [(0, 3), (2, 5), (4, 7)] == [(s.start, s.stop) for s in found]
    assert [range(3), range(3, 5), range(5, 7)] == [s.keep for s in found]


def test_the_row_comes_from_the_middle_of_a_window():
    """With two chunks shared, each comes from the window in which its cut is further."""
    found = spans([4] * 6, window_tokens=19, overlap_tokens=9)

    assert [(0, 4), (2, 6)] == [(s.start, s.stop) for s in found]
    assert [range(3), range(3, 6)] == [s.keep for s in found]


def test_a_long_chunk_is_a_window_alone():
    """A chunk longer than the window keeps its neighbours out."""
    found = spans([3, 3, 50, 3], window_tokens=10, overlap_tokens=5)

    assert [(0, 2), (2, 3), (3, 4)] == [(s.start, s.stop) for s in found]


@given(COUNTS, st.integers(2, 60), st.data(), st.integers(0, 2))
def test_spans_hold_what_they_promise(counts, window, data, separator):
    """Within the window, in order, overlapping by a limit, each chunk kept once, by the best."""
    overlap = data.draw(st.integers(0, window - 1))
    found = spans(counts, window_tokens=window, overlap_tokens=overlap, separator_tokens=separator)

    def tokens(start, stop):
        return sum(counts[start:stop]) + separator * (stop - start - 1)

    for span in found:
        assert span.stop - span.start == 1 or tokens(span.start, span.stop) <= window
        assert span.start <= span.keep.start < span.keep.stop <= span.stop
    for one, two in pairwise(found):
        assert one.start < two.start
        assert one.stop < two.stop
        assert two.start >= one.stop or tokens(two.start, one.stop) <= overlap
    assert list(range(len(counts))) == [chunk for span in found for chunk in span.keep]


@given(COUNTS, st.integers(5, 60), st.data())
def test_rows_come_from_the_window_furthest_from_a_cut(counts, window, data):
    """No other window that is kept shows a chunk more of its surroundings."""
    overlap = data.draw(st.integers(0, window - 1))
    found = spans(counts, window_tokens=window, overlap_tokens=overlap)

    def margin(span, chunk):
        before = sum(counts[span.start : chunk]) + chunk - span.start
        after = sum(counts[chunk + 1 : span.stop]) + span.stop - chunk - 1
        return min(before if span.start else 10**9, after if span.stop < len(counts) else 10**9)

    for span in found:
        for chunk in span.keep:
            others = [o for o in found if o.start <= chunk < o.stop]
            best = max(margin(other, chunk) for other in others)
            assert margin(span, chunk) == best
            assert next(o for o in others if margin(o, chunk) == best) is span


@given(COUNTS, st.sampled_from([0.0, 0.3, 1.0]), st.integers(5, 60), st.integers(0, 4))
def test_a_plan_keeps_every_chunk(counts, weight, window, overlap):
    """A contextual or lone row for every chunk; where vectors are mixed, an independent one too."""
    planned = plan_windows(
        3,
        chunks_of(counts),
        layout(context_weight=weight, window_tokens=window, overlap_tokens=overlap),
    )
    contextual = [c for w in planned if not w.independent for c in w.keep]
    independent = [c for w in planned if w.independent for c in w.keep]

    assert {3} == {w.document for w in planned}
    assert len(contextual) == len(set(contextual))
    assert len(independent) == len(set(independent))
    assert set(range(len(counts))) == set(contextual) | set(independent)
    if weight < 1:
        assert list(range(len(counts))) == sorted(independent)
    else:
        assert not set(contextual) & set(independent)
    if weight == 0:
        assert not contextual
    for w in planned:
        assert w.tokens == sum(c.count for c in w.chunks) + len(w.chunks) - 1
        assert [f"c{n}" for n in range(w.first, w.first + len(w.chunks))] == [
            c.text for c in w.chunks
        ]


def test_a_single_chunk_is_independent():
    """No sibling, no context: one window does for both."""
    (window,) = plan_windows(0, chunks_of([5]), layout(context_weight=0.5))

    assert window.independent


def test_a_chunk_beyond_the_model_is_refused():
    """The error says how long the chunk is, how long it may be, and what to do."""
    with pytest.raises(DocumentTooLongError, match='long_chunks="pool"') as caught:
        plan_windows(4, chunks_of([5, 101]), layout())

    error = caught.value
    assert (error.document, error.chunk, error.tokens, error.limit) == (4, 1, 101, 100)


@given(st.integers(101, 1000))
def test_a_long_chunk_is_cut_into_pieces(count):
    """Pieces follow each other, none is over the limit, and their shares are their tokens'."""
    planned = plan_windows(0, chunks_of([5, count]), layout(long_chunks="pool"))
    pieces = [w for w in planned if w.first == 1]

    assert list(range(count)) == [i for w in pieces for i in w.chunks[0].ids]
    assert all(w.tokens <= 100 and w.independent for w in pieces)
    assert [w.tokens / count for w in pieces] == [w.share for w in pieces]
    assert max(w.tokens for w in pieces) - min(w.tokens for w in pieces) <= 1


@given(
    st.lists(COUNTS, max_size=12),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(10, 200),
    st.booleans(),
)
def test_batches_stay_within_the_limits(documents, most, chunks, tokens, padded):
    """Every window in exactly one batch, none over a limit unless it is alone."""
    limits = Limits(documents=most, chunks=chunks, batch_tokens=tokens, padded=padded)
    windows = [w for n, d in enumerate(documents) for w in plan_windows(n, chunks_of(d), layout())]
    batches = pack(windows, limits)

    assert list(range(len(windows))) == sorted(n for batch in batches for n in batch)
    for batch in batches:
        inside = [windows[n] for n in batch]
        longest = max(w.tokens for w in inside)
        cost = longest * len(inside) if padded else sum(w.tokens for w in inside)
        assert len(inside) <= most
        assert len(inside) == 1 or cost <= tokens
        assert len(inside) == 1 or sum(len(w.chunks) for w in inside) <= chunks
        waste = cost - sum(w.tokens for w in inside)
        assert waste <= max(LEAST_WASTE, cost * MOST_WASTE)
    if not padded:
        assert list(range(len(windows))) == [n for batch in batches for n in batch]


def test_a_prefix_counts_for_every_window():
    """Ten windows of 1 token behind 9 each are two batches of 50 tokens."""
    windows = [plan_windows(n, chunks_of([1]), layout())[0] for n in range(10)]

    assert [5, 5] == [len(b) for b in pack(windows, Limits(batch_tokens=50), prefix_tokens=9)]


def test_short_windows_are_not_padded_to_a_long_one():
    """40 windows of 5 tokens beside one of 200 would be 8,200 tokens instead of 400."""
    windows = [plan_windows(n, chunks_of([5]), layout())[0] for n in range(41)]
    windows[7] = replace(windows[7], tokens=200)
    batches = pack(windows, Limits(batch_tokens=10_000, padded=True))

    assert [1, 40] == [len(batch) for batch in batches]
    assert batches[0] == [7]
    assert len(pack(windows, Limits(batch_tokens=10_000))) == 1


def test_windows_of_like_length_stay_together():
    windows = [plan_windows(n, chunks_of([5]), layout())[0] for n in range(20)]
    windows = [replace(window, tokens=100 - n) for n, window in enumerate(windows)]

    assert len(pack(windows, Limits(batch_tokens=10_000, padded=True))) == 1


def test_batches_are_shared_out_among_places():
    """Where 4 batches may be under way, 100,000 tokens are 4 of about 25,000 and not 1."""
    windows = [plan_windows(n, chunks_of([1]), layout())[0] for n in range(100)]
    windows = [replace(window, tokens=1000) for window in windows]
    batches = pack(windows, Limits(batch_tokens=120_000, concurrency=4))

    assert [26, 26, 26, 22] == [len(batch) for batch in batches]
    assert len(pack(windows[:4], Limits(batch_tokens=120_000, concurrency=4))) == 2


def test_layout_takes_the_models_defaults():
    """Half of an untrained model's window, an eighth of a trained one's, whatever the window."""
    found = layout_for(Settings(), SPEC)
    longer = layout_for(Settings(window_tokens=60), SPEC)

    assert (found.window_tokens, found.overlap_tokens, found.context_weight) == (40, 20, 0.5)
    assert (longer.window_tokens, longer.overlap_tokens) == (60, 30)


def test_prefix_takes_its_tokens_from_the_window():
    """What stands before every window leaves less for chunks."""
    found = layout_for(Settings(window_tokens=95), SPEC, prefix_tokens=5)

    assert (found.max_tokens, found.window_tokens) == (95, 95)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(window_tokens=101), "window_tokens"),
        (Settings(window_tokens=20, overlap_tokens=20), "overlap_tokens"),
        (Settings(overlap_tokens=40), "overlap_tokens"),
    ],
)
def test_impossible_layouts_are_refused(settings, words):
    """A window beyond the model, an overlap as long as the window."""
    with pytest.raises(ConfigurationError, match=words):
        layout_for(settings, SPEC)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        (0, "takes 100 at the most, special tokens already taken off."),
        (
            5,
            "takes 95 at the most, special tokens and the 5 of document_prefix already taken off.",
        ),
    ],
)
def test_window_beyond_the_model_is_refused_with_what_is_taken_off(prefix, words):
    with pytest.raises(ConfigurationError, match=f"^window_tokens is 101 and .* {words}$"):
        layout_for(Settings(window_tokens=101), SPEC, prefix)
