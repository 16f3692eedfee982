"""How often the 95 % intervals of `ctxembed.evaluation` hold the mean, on data whose mean is known.

    python benchmarks/intervals.py

Documents have an effect of their own, and different numbers of queries. Two kinds of values are
drawn: differences in nDCG (most of them 0, some large) and reciprocal ranks (1, 1/2, ... or 0).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from report import markdown, write_page

from ctxembed.evaluation.intervals import DRAWS, estimate

RESULTS = Path(__file__).parent / "results" / "intervals.md"
DOCUMENTS = (5, 10, 23, 48, 100, 200)
LAYOUTS, TRIALS = 20, 250
LARGE = 400_000
"""So many documents of one query each give the mean that is to be held."""


def differences(effects: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return a difference per query: its document's effect, and now and then much more or less."""
    changed = random.random(effects.shape) < 0.4
    return 0.03 + 0.05 * effects + changed * random.normal(0, 0.3, effects.shape)


def reciprocal_ranks(effects: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return 1 over the place of the first answer of a query, 0 behind the tenth."""
    places = random.geometric(1 / (1 + np.exp(-0.4 - effects)), effects.shape)
    return np.where(places <= 10, 1 / places, 0.0)


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "differences": differences,
    "reciprocal ranks": reciprocal_ranks,
}


def coverage(kind: str, documents: int, random: np.random.Generator) -> float:
    """Return the share of intervals that hold the mean."""
    draw = KINDS[kind]
    truth = draw(random.normal(size=LARGE), random).mean()
    held = 0
    for layout in range(LAYOUTS):
        names = np.repeat(np.arange(documents), 1 + random.poisson(10, documents))
        effects = random.normal(size=(TRIALS, documents))[:, names]
        columns = dict(enumerate(draw(effects, random)))
        found = estimate(columns, names.tolist(), seed=layout)
        held += sum(each.low <= truth <= each.high for each in found.values())
    return held / LAYOUTS / TRIALS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    told = parser.parse_args()
    random = np.random.default_rng(0)
    rows = [
        [documents, *(f"{coverage(kind, documents, random):.1%}" for kind in KINDS)]
        for documents in DOCUMENTS
    ]
    facts = {
        "Trials per figure": f"{LAYOUTS * TRIALS:,}, each with {DRAWS:,} draws of documents",
        "Queries per document": "1 and a Poisson number with mean 10",
    }
    title = "Intervals: how often 95 % intervals hold the mean"
    command = "python benchmarks/intervals.py"
    write_page(told.out, title, command, facts, markdown(("documents", *KINDS), rows))


if __name__ == "__main__":
    main()
