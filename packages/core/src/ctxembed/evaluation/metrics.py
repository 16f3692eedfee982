"""nDCG@10, recall@5 and MRR@10 of every query, from `ir-measures`; relevant is yes or no."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Metric = Literal["nDCG@10", "recall@5", "MRR@10"]
Scores = NDArray[np.float64]

METRICS: tuple[Metric, ...] = get_args(Metric)


def score(
    hits: Iterable[Iterable[int]], relevant: Sequence[Sequence[int]]
) -> dict[Metric, Scores]:
    """Return one value per query for each metric.

    `hits` are the numbers of what was found for each query, nearest first; `relevant` are the
    numbers of what answers it, at least one.
    """
    import ir_measures

    measures = dict(
        zip(METRICS, map(ir_measures.parse_measure, ("nDCG@10", "R@5", "RR@10")), strict=True)
    )
    wanted = {
        str(query): dict.fromkeys(map(str, chunks), 1) for query, chunks in enumerate(relevant)
    }
    # only the order counts: scores that fall by 1 keep it where cosines are equal
    found = {
        str(query): {str(chunk): float(-rank) for rank, chunk in enumerate(row)}
        for query, row in enumerate(hits)
    }
    values = {measure: np.zeros(len(relevant)) for measure in measures.values()}
    for each in ir_measures.iter_calc(list(values), wanted, found):
        values[each.measure][int(each.query_id)] = each.value
    return {name: values[measure] for name, measure in measures.items()}
