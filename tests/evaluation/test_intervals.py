"""Intervals from drawing documents anew."""

import math

import numpy as np
import pytest

from ctxembed.evaluation.intervals import Estimate, estimate


def test_the_same_seed_gives_the_same_interval():
    """Figures can be made again, and another seed moves them a little."""
    values = np.random.default_rng(1).random(40)
    documents = [f"d{number % 8}" for number in range(40)]

    def run(seed: int) -> Estimate:
        return estimate({"x": values}, documents, seed=seed)["x"]

    assert run(0) == run(0) != run(1)
    assert run(0).low < values.mean() < run(0).high
    assert run(0).value == pytest.approx(values.mean())


def test_documents_are_drawn_and_not_queries():
    """Values that differ between documents only have the interval of two documents, not of 200."""
    values = np.repeat([0.0, 1.0], 100)
    by_document = estimate({"x": values}, ["a"] * 100 + ["b"] * 100)["x"]
    by_query = estimate({"x": values}, range(200))["x"]

    assert (0.0, 1.0) == (by_document.low, by_document.high)
    assert by_query.low == pytest.approx(0.43, abs=0.01)


def test_a_document_with_more_queries_counts_for_more():
    """The mean is over queries, whatever is drawn."""
    found = estimate({"x": np.array([1.0, 1.0, 1.0, 0.0])}, ["a", "a", "a", "b"])["x"]

    assert (0.75, 0.0, 1.0) == (found.value, found.low, found.high)


def test_all_columns_get_the_same_draws(monkeypatch):
    """A difference that is 0.1 in every query has no width, in any block of draws."""
    values = np.random.default_rng(1).random(30)
    columns = {"a": values, "b": values + 0.1}
    whole = estimate(columns, range(30))
    monkeypatch.setattr("ctxembed.evaluation.intervals._CELLS_AT_ONCE", 90_000)

    assert whole["b"].low - whole["a"].low == pytest.approx(0.1)
    difference = estimate({"d": columns["b"] - columns["a"]}, range(30))["d"]
    assert (difference.low, difference.high) == pytest.approx((0.1, 0.1))
    assert difference.direction == "up"


def test_a_single_document_has_no_interval():
    """There is nothing to draw from."""
    found = estimate({"x": np.array([0.2, 0.4])}, ["a", "a"])["x"]

    assert found.value == pytest.approx(0.3)
    assert math.isnan(found.low)
    assert found.direction == "unclear"


@pytest.mark.parametrize(
    ("low", "high", "direction"),
    [(0.1, 0.2, "up"), (-0.2, -0.1, "down"), (-0.1, 0.2, "unclear"), (0.0, 0.0, "unclear")],
)
def test_a_difference_is_clear_with_its_whole_interval_on_one_side(low, high, direction):
    """Zero itself is on neither side."""
    assert direction == Estimate((low + high) / 2, low, high).direction


@pytest.mark.parametrize(("documents", "least", "most"), [(100, 0.93, 0.97), (23, 0.90, 0.96)])
def test_intervals_hold_a_mean_that_is_known(documents, least, most):
    """95 % of them should, and nearly do; benchmarks/results/intervals.md has more of this."""
    random = np.random.default_rng(0)
    held = []
    for layout in range(4):
        names = np.repeat(np.arange(documents), 1 + random.poisson(10, documents))
        effects = random.normal(0, 0.05, (500, documents))[:, names]
        changed = random.random(effects.shape) < 0.4
        values = 0.03 + effects + changed * random.normal(0, 0.3, effects.shape)
        found = estimate(dict(enumerate(values)), names.tolist(), seed=layout)
        held += [each.low <= 0.03 <= each.high for each in found.values()]

    assert least <= np.mean(held) <= most
